"""Scores of translations: the measures that are resampled, and sacreBLEU's report of a test set."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.significance import PairedTest, Result

from transformer.alignment.measure import error_rate
from transformer.evaluation.measures import Measure
from transformer.evaluation.metrics import bleu_counts, bleu_of_counts, by_length, scores

MEASURES = {
    "BLEU": Measure(bleu_of_counts, digits=1),
    "chrF2": Measure(None, digits=1, column="chrF"),
    "AER": Measure(error_rate, higher_is_better=False, high=1.0, digits=3, label="alignment error rate"),
}
"""BLEU, chrF2 (sacreBLEU's, in 0..100), and the error rate of the attention on test sets with gold links."""


def statistics(
    predictions: Sequence[str], references: Sequence[str], tokenize: str = "13a", lowercase: bool = False
) -> dict[str, Int[np.ndarray, "N _"]]:
    """Counts of BLEU; see `Predictor.statistics`."""
    return {"BLEU": bleu_counts(predictions, references, tokenize, lowercase)}


def details(
    sources: Sequence[str],
    predictions: Sequence[str],
    references: Sequence[str],
    loss: float,
    baseline: Sequence[str] | None = None,
    tokenize: str = "13a",
    lowercase: bool = False,
) -> dict[str, Any]:
    """sacreBLEU's scores with signatures, perplexity, BLEU by length, and its paired bootstrap against a baseline.

    Args:
        sources: of the test set.
        predictions: translations, one for each source.
        references: as many, raw text.
        loss: mean negative log-likelihood of a target token, in nats.
        baseline: translations by another system.
        tokenize: sacreBLEU's tokenizer.
        lowercase: ignore case.
    """
    found: dict[str, Any] = {
        "scores": {
            score.name: score._asdict()
            for score in scores(predictions, references, tokenize=tokenize, lowercase=lowercase)
        },
        "perplexity": float(np.exp(min(loss, 700))),
        "by_length": by_length(sources, predictions, references, tokenize, lowercase),
    }
    if baseline is not None:
        found["against"] = _paired(baseline, predictions, references, tokenize, lowercase)
    return found


def _paired(
    baseline: Sequence[str], predictions: Sequence[str], references: Sequence[str], tokenize: str, lowercase: bool
) -> dict[str, Any]:
    """Paired bootstrap resampling of BLEU (Koehn 2004) by sacreBLEU."""
    test = PairedTest(
        [("baseline", baseline), ("system", predictions)],
        {"BLEU": BLEU(references=[references], tokenize=tokenize, lowercase=lowercase, force=True)},
        references=None,
        test_type="bs",
        n_samples=1000,
    )
    _, result = test()
    before, now = (entry for entry in result["BLEU"] if isinstance(entry, Result))
    return {
        "bleu": float(before.score),
        "difference": float(now.score - before.score),
        "p": now.p_value,
    }
