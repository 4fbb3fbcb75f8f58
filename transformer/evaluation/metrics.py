"""BLEU, chrF and TER as sacreBLEU computes them: counts of each sentence that add up, scores of summed counts, and the
signatures that make scores comparable; BLEU by length."""

import logging
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from sacrebleu.metrics.base import Metric
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.metrics.ter import TER
from tqdm import tqdm

from transformer.evaluation.significance import interval_or_reason

log = logging.getLogger(__name__)

LENGTH_EDGES = (5, 10, 15, 20, 25, 30, 40, 50)
"""Bins of source length in words: up to 5, 6 to 10, ..., and more than 50."""
LONG = 100
"""Words of a hypothesis and its reference from which TER may take seconds: it tries up to 1,000 shifts of words."""


def bleu(hypotheses: Sequence[str], references: Sequence[str], tokenize: str = "13a", lowercase: bool = False) -> float:
    """Corpus BLEU (Papineni 2002) in 0..100; 0 for an empty corpus."""
    return float(bleu_of_counts(bleu_counts(hypotheses, references, tokenize, lowercase).sum(0)))


def bleu_counts(
    hypotheses: Sequence[str], references: Sequence[str], tokenize: str = "13a", lowercase: bool = False
) -> Int[np.ndarray, "N 10"]:
    """Lengths of the hypothesis and the reference, matching n-grams (1 to 4), and n-grams of the hypothesis."""
    metric = BLEU(tokenize=tokenize, lowercase=lowercase, force=True)
    return _counts(metric, zip(hypotheses, references, strict=True), 10)


def chrf_counts(
    hypotheses: Sequence[str], references: Sequence[str], lowercase: bool = False
) -> Int[np.ndarray, "N 18"]:
    """For each order of character n-grams (1 to 6) those of the hypothesis, of the reference, and the matching ones."""
    return _counts(CHRF(lowercase=lowercase), zip(hypotheses, references, strict=True), 18)


def ter_counts(hypotheses: Sequence[str], references: Sequence[str]) -> Int[np.ndarray, "N 2"]:
    """Edits and words of the reference. Case is ignored, as sacreBLEU does by default.

    The time grows with the length of a pair: it is seconds for hundreds of words that differ. Long pairs are reported
    in the log, and a bar shows the progress.
    """
    pairs = list(zip(hypotheses, references, strict=True))
    long = sum(min(len(side.split()) for side in pair) >= LONG for pair in pairs)
    if long:
        log.warning("TER may take long: %d of %d pairs have %d words or more (--metrics bleu chrf leaves it out)",
                    long, len(pairs), LONG)  # fmt: skip
    # Only the main process of a job logs warnings, and shows a bar.
    silent = not log.isEnabledFor(logging.WARNING)
    bar = tqdm(pairs, "TER", unit="pair", delay=0 if long else 2, disable=silent, leave=False, dynamic_ncols=True)
    return _counts(TER(), bar, 2)


def _counts(metric: Metric, pairs: Iterable[tuple[str, str]], columns: int) -> Int[np.ndarray, "N K"]:
    rows = [metric._extract_corpus_statistics([hypothesis], [[reference]])[0] for hypothesis, reference in pairs]
    return np.array(rows, np.int64).reshape(-1, columns)


def bleu_of_counts(counts: Float[np.ndarray, "... 10"] | Int[np.ndarray, "... 10"]) -> np.ndarray:
    """BLEU in 0..100 of summed `bleu_counts`, as sacreBLEU computes it (Papineni 2002; smoothing `exp`: the i-th order
    without a match counts as 1 / 2^i matches).

    Args:
        counts: length of the hypothesis, of the reference, matching n-grams (1 to 4), and n-grams of the hypothesis.
    """
    values = np.asarray(counts, np.float64)
    length, reference, right, total = values[..., 0], values[..., 1], values[..., 2:6], values[..., 6:10]
    halvings = np.cumsum(right == 0, -1)
    with np.errstate(divide="ignore", invalid="ignore"):
        precisions = np.where(right == 0, 0.5**halvings, right) / total
        brevity = np.where(length < reference, np.exp(1 - reference / length), 1.0)
        score = 100 * brevity * np.exp(np.log(precisions).mean(-1))
    # BLEU is zero without any match, and if no hypothesis is long enough for every order.
    return np.where((right.sum(-1) > 0) & (total > 0).all(-1), score, 0.0)


def chrf_of_counts(counts: Float[np.ndarray, "... 18"] | Int[np.ndarray, "... 18"]) -> np.ndarray:
    """chrF2 in 0..100 of summed `chrf_counts`, as sacreBLEU computes it (Popović 2015; beta is 2): precision and recall
    are means over the orders that both sides have."""
    values = np.asarray(counts, np.float64)
    ours, theirs, right = values[..., 0::3], values[..., 1::3], values[..., 2::3]
    known = (ours > 0) & (theirs > 0)
    orders = np.maximum(known.sum(-1), 1)
    precision = np.where(known, right / np.maximum(ours, 1), 0.0).sum(-1) / orders
    recall = np.where(known, right / np.maximum(theirs, 1), 0.0).sum(-1) / orders
    both = 4 * precision + recall
    return np.asarray(100 * 5 * precision * recall / np.where(both > 0, both, 1.0))


def ter_of_counts(counts: Float[np.ndarray, "... 2"] | Int[np.ndarray, "... 2"]) -> np.ndarray:
    """TER of summed `ter_counts`, as sacreBLEU computes it (Snover 2006): edits per 100 words of the references, 0 or
    more. Without such words it is 100 if there are edits."""
    values = np.asarray(counts, np.float64)
    edits, words = values[..., 0], values[..., 1]
    return np.asarray(100 * np.where(words > 0, edits / np.maximum(words, 1), edits > 0))


def signatures(tokenize: str = "13a", lowercase: bool = False) -> dict[str, str]:
    """sacreBLEU's signature of each score by its name."""
    metrics: dict[str, Metric] = {
        "BLEU": BLEU(tokenize=tokenize, lowercase=lowercase, force=True),
        "chrF2": CHRF(lowercase=lowercase),
        "TER": TER(),
    }
    for metric in metrics.values():
        metric.num_refs = 1
    return {name: str(metric.get_signature()) for name, metric in metrics.items()}


def by_length(sources: Sequence[str], counts: Int[np.ndarray, "N 10"]) -> list[dict[str, Any]]:
    """Corpus BLEU of the sentences in each bin of source length (words split at spaces), with its interval over them.
    Empty bins are left out.

    Args:
        sources: N sentences.
        counts: of BLEU, of their translations.
    """
    lengths = np.array([len(source.split()) for source in sources])
    rows = []
    low = 0
    for high in (*LENGTH_EDGES, None):
        inside = counts[(lengths >= low) & (lengths <= (high or lengths.max(initial=0)))]
        if len(inside):
            words = f"{low}-{high}" if high else f"{low}+"
            score = {"bleu": float(bleu_of_counts(inside.sum(0))), **interval_or_reason(inside, bleu_of_counts)}
            rows.append({"words": words, "sentences": len(inside), **score})
        low = (high or 0) + 1
    return rows
