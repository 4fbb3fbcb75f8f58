"""Scores of translations by sacreBLEU, each with the signature that makes it comparable; BLEU by length."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from sacrebleu.metrics.base import Metric
from sacrebleu.metrics.base import Score as Found
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.metrics.ter import TER

LENGTH_EDGES = (5, 10, 15, 20, 25, 30, 40, 50)
"""Bins of source length in words: up to 5, 6 to 10, ..., and more than 50."""


class Score(NamedTuple):
    """A corpus score and sacreBLEU's signature of it."""

    name: str
    value: float
    signature: str
    interval: tuple[float, float] | None = None
    """95% confidence interval by bootstrap over sentences."""


def bleu(hypotheses: Sequence[str], references: Sequence[str], tokenize: str = "13a", lowercase: bool = False) -> float:
    """Corpus BLEU (Papineni 2002) in 0..100; 0 for an empty corpus."""
    metric = BLEU(tokenize=tokenize, lowercase=lowercase, force=True)
    return float(metric.corpus_score(hypotheses, [references]).score) if hypotheses else 0.0


def bleu_counts(
    hypotheses: Sequence[str], references: Sequence[str], tokenize: str = "13a", lowercase: bool = False
) -> Int[np.ndarray, "N 10"]:
    """The statistics of each sentence from which sacreBLEU computes BLEU of their sum."""
    metric = BLEU(tokenize=tokenize, lowercase=lowercase, force=True)
    return np.array(metric._extract_corpus_statistics(hypotheses, [references]), np.int64).reshape(-1, 10)


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


def scores(
    hypotheses: Sequence[str],
    references: Sequence[str],
    *,
    tokenize: str = "13a",
    lowercase: bool = False,
    bootstrap: int = 1000,
) -> list[Score]:
    """BLEU, chrF and TER with signatures; BLEU and chrF with bootstrap intervals when `bootstrap` > 0.

    Args:
        hypotheses: translations, one for each sentence.
        references: as many references, raw text.
        tokenize: sacreBLEU's tokenizer; `none` only for tokenised text, to compare with published
            figures on it.
        lowercase: ignore case.
        bootstrap: resamples of the interval.
    """
    metrics = [
        BLEU(tokenize=tokenize, lowercase=lowercase, force=True),
        CHRF(lowercase=lowercase),
        TER(case_sensitive=not lowercase),
    ]
    found = []
    for metric in metrics:
        resamples = 1 if isinstance(metric, TER) else bootstrap
        score, interval = _with_interval(metric, hypotheses, references, resamples)
        found.append(Score(score.name, float(score.score), str(metric.get_signature()), interval))
    return found


def _with_interval(
    metric: Metric, hypotheses: Sequence[str], references: Sequence[str], bootstrap: int
) -> tuple[Found, tuple[float, float] | None]:
    """A score with its 95% interval; None if it has none."""
    resamples = bootstrap if len(hypotheses) > 1 else 1
    try:
        score = metric.corpus_score(hypotheses, [references], n_bootstrap=resamples)
    except TypeError:  # sacreBLEU cannot average resamples of which some score 0
        resamples, score = 1, metric.corpus_score(hypotheses, [references])
    return score, (float(score._mean - score._ci), float(score._mean + score._ci)) if resamples > 1 else None


def by_length(
    sources: Sequence[str],
    hypotheses: Sequence[str],
    references: Sequence[str],
    tokenize: str = "13a",
    lowercase: bool = False,
    bootstrap: int = 1000,
) -> list[dict[str, Any]]:
    """Corpus BLEU of the sentences in each bin of source length (words split at spaces), with its interval over them.
    Empty bins are left out."""
    metric = BLEU(tokenize=tokenize, lowercase=lowercase, force=True)
    lengths = np.array([len(source.split()) for source in sources])
    rows = []
    low = 0
    for high in (*LENGTH_EDGES, None):
        inside = np.flatnonzero((lengths >= low) & (lengths <= (high or lengths.max(initial=0)))).tolist()
        if inside:
            ours, theirs = [hypotheses[i] for i in inside], [references[i] for i in inside]
            score, interval = _with_interval(metric, ours, theirs, bootstrap)
            words = f"{low}-{high}" if high else f"{low}+"
            rows.append({"words": words, "sentences": len(inside), "bleu": float(score.score), "interval": interval})
        low = (high or 0) + 1
    return rows
