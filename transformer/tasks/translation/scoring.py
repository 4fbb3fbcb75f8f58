"""Scores of translations: the measures, their counts, and further parts of the report of a test set."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Int

from transformer.alignment.measure import error_rate
from transformer.errors import UsageError
from transformer.evaluation import measures
from transformer.evaluation.measures import Counts, Measure
from transformer.evaluation.metrics import (
    bleu_counts,
    bleu_of_counts,
    by_length,
    chrf_counts,
    chrf_of_counts,
    signatures,
    ter_counts,
    ter_of_counts,
)
from transformer.tasks.translation.config import METRICS

SCORES = {
    "BLEU": Measure(bleu_of_counts, digits=1),
    "chrF2": Measure(chrf_of_counts, digits=1, column="chrF"),
    "TER": Measure(ter_of_counts, higher_is_better=False, high=math.inf, digits=1),
}
"""sacreBLEU's scores, which reports have."""
MEASURES = {
    "BLEU": SCORES["BLEU"],
    "chrF2": replace(SCORES["chrF2"], score=None),
    "AER": Measure(error_rate, higher_is_better=False, high=1.0, digits=3, label="alignment error rate"),
}
"""The measures in studies' tables: BLEU, chrF2, and the error rate of the attention on test sets with gold links. Their
results keep the counts of BLEU and AER, not the 18 counts of chrF2 of each sentence."""


def statistics(
    predictions: Sequence[str],
    references: Sequence[str],
    tokenize: str = "13a",
    lowercase: bool = False,
    metrics: Sequence[str] = METRICS,
) -> dict[str, Int[np.ndarray, "N _"]]:
    """Counts of the chosen `SCORES`; see `Predictor.statistics`.

    Args:
        predictions: translations.
        references: as many, raw text.
        tokenize: sacreBLEU's tokenizer for BLEU.
        lowercase: ignore case in BLEU and chrF; TER always does.
        metrics: some of `METRICS`.

    Raises UsageError for other metrics.
    """
    if unknown := sorted({*metrics} - {*METRICS}):
        raise UsageError(f"there is no metric {unknown[0]!r}: choose from {', '.join(METRICS)}")
    compute: dict[str, tuple[str, Callable[[], Int[np.ndarray, "N _"]]]] = {
        "bleu": ("BLEU", lambda: bleu_counts(predictions, references, tokenize, lowercase)),
        "chrf": ("chrF2", lambda: chrf_counts(predictions, references, lowercase)),
        "ter": ("TER", lambda: ter_counts(predictions, references)),
    }
    return {name: count() for metric, (name, count) in compute.items() if metric in metrics}


def scores(counts: Counts, tokenize: str = "13a", lowercase: bool = False) -> dict[str, dict[str, Any]]:
    """Scores with 95% intervals over sentences and sacreBLEU's signatures, of counts by `statistics` with the same
    options."""
    signed = signatures(tokenize, lowercase)
    return {name: {**score, "signature": signed[name]} for name, score in measures.scores(counts, SCORES).items()}


def details(
    sources: Sequence[str], counts: Counts, loss: float, tokenize: str = "13a", lowercase: bool = False
) -> dict[str, Any]:
    """`scores`, the perplexity, and BLEU by length.

    Args:
        sources: of the test set.
        counts: of their translations, by `statistics` with the same options.
        loss: mean negative log-likelihood of a target token, in nats.
        tokenize: sacreBLEU's tokenizer.
        lowercase: ignore case.
    """
    lengths = {"by_length": by_length(sources, counts["BLEU"])} if "BLEU" in counts else {}
    found = scores(counts, tokenize, lowercase)
    return {"scores": found, "perplexity": float(np.exp(min(loss, 700))), **lengths}
