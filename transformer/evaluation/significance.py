"""Intervals of scores and significance of differences, by resampling lines and seeds; corrections for many tests.

Letters: N lines, A and B seeds of two systems, R resamples, K counts of a measure (`measures.Measure`): the score of a
corpus is that of the sum of its lines' counts. Names say sentence for line, as the literature does.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float, Int

RESAMPLES = 2_000
LEVEL = 0.05
"""A difference is significant if its corrected p is below this."""
CHUNK = 10_000_000
"""Lines drawn at a time, which bounds memory."""
MIN_SENTENCES = 2
"""Fewer cannot be resampled."""
TOO_FEW = "fewer than 2 sentences"
"""Why there is no interval or no test."""
ROUNDING = 1e-9
"""Tolerance below which scores are equal up to rounding, relative to the scores, or absolute if these are below 1."""

Metric: TypeAlias = Callable[[np.ndarray], np.ndarray]
"""Counts [..., K] to scores [...]."""


class Difference(NamedTuple):
    """Difference between a system's mean over seeds and a baseline's."""

    value: float
    interval: tuple[float, float]
    """95%."""
    p: float
    """Two-sided, of this comparison alone, not corrected."""
    over: Literal["sentences, seeds", "sentences", "seeds"]
    """What was resampled, or, for seeds alone, tested."""
    at_most: bool = False
    """p is an upper bound: no resample was as far from the difference as zero is."""


def compare(
    system: Float[np.ndarray, "A N K"] | Int[np.ndarray, "A N K"],
    baseline: Float[np.ndarray, "B N K"] | Int[np.ndarray, "B N K"],
    metric: Metric,
    resamples: int = RESAMPLES,
    seed: int = 12345,
) -> Difference:
    """Mean score over the seeds of a system minus that of a baseline on the same sentences, tested by bootstrap.

    p is the share of resamples that are at least as far from the observed difference as zero is: their distribution is
    shifted to the null hypothesis. It is always two-sided. The observed difference counts as one more resample, so p is
    above 0. Ties count, including those up to rounding: p is 1 if the two do not differ. sacreBLEU's paired
    bootstrap returns about half of it from the same resamples: the share beyond the mean distance, which under the null
    hypothesis is below 0.05 in a tenth of all comparisons, and is about 0 if the two do not differ.

    Args:
        system: counts of each seed and sentence.
        baseline: the same of the baseline.
        metric: scores of summed counts.
        resamples: R.
        seed: of the resamples.

    Raises ValueError if the numbers of sentences differ or are below `MIN_SENTENCES`.
    """
    found = [metric(np.asarray(counts, np.float64).sum(1)).mean() for counts in (system, baseline)]
    value = float(found[0] - found[1])
    each = resampled(system, baseline, metric, resamples, seed)
    rounding = ROUNDING * max(1.0, *map(abs, found))
    beyond = int(np.count_nonzero(np.abs(each - value) >= abs(value) - rounding))
    low, high = np.quantile(each, (0.025, 0.975))
    single = min(len(system), len(baseline)) == 1
    over: Literal["sentences", "sentences, seeds"] = "sentences" if single else "sentences, seeds"
    return Difference(value, (float(low), float(high)), (beyond + 1) / (resamples + 1), over, beyond == 0)


def resampled(
    system: Float[np.ndarray, "A N K"] | Int[np.ndarray, "A N K"],
    baseline: Float[np.ndarray, "B N K"] | Int[np.ndarray, "B N K"],
    metric: Metric,
    resamples: int,
    seed: int,
) -> Float[np.ndarray, " R"]:
    """The difference of means over seeds in each resample. Arguments and errors are those of `compare`.

    If both have several seeds, there are two levels: each resample draws sentences, the same for every run, and as many
    seeds of each system, with replacement. That alone would count the effect of sentences on a single run up
    to three times, since it is part of the differences between seeds too (Owen 2007, "The pigeonhole bootstrap").
    Therefore the seeds' deviations are shrunk to the variance that sentences do not explain, and scaled by the root of
    n / (n - 1), since a mean of n resampled seeds varies that much less than a mean of n new ones. If either has a
    single seed, nothing is known about others, and only sentences are drawn (Koehn 2004), as in sacreBLEU.

    Three seeds are few: in simulations with normal scores and no difference, p is below 0.05 in 7% of comparisons of
    three with three seeds if seeds and sentences have equal effects, and in 13% if only seeds have one.
    """
    sets = [np.asarray(counts, np.float64) for counts in (system, baseline)]
    sentences = sets[0].shape[1]
    if sets[1].shape[1] != sentences:
        raise ValueError(f"runs of {sentences} and {sets[1].shape[1]} sentences cannot be paired")
    if sentences < MIN_SENTENCES:
        raise ValueError(f"{TOO_FEW} cannot be resampled")
    random, step = np.random.default_rng(seed), max(1, CHUNK // sentences)
    parts: tuple[list[np.ndarray], ...] = ([], [])
    for first in range(0, resamples, step):
        drawn = random.choice(sentences, size=(min(step, resamples - first), sentences), replace=True)
        weights = _times(drawn, sentences)
        for counts, part in zip(sets, parts, strict=True):
            part.append(metric(np.einsum("rn,ank->rak", weights, counts, optimize=True)))
    means = []
    single = min(len(counts) for counts in sets) == 1
    for counts, part in zip(sets, parts, strict=True):
        scores = np.concatenate(part)  # [R, A]
        means.append(scores.mean(1) + (0.0 if single else _drawn_seeds(metric(counts.sum(1)), scores, random)))
    return np.asarray(means[0] - means[1])


def interval(
    counts: Float[np.ndarray, "N K"] | Int[np.ndarray, "N K"], metric: Metric, resamples: int = 1_000, seed: int = 1
) -> tuple[float, float] | None:
    """95% interval of a score by bootstrap over lines: quantiles of resamples, which are within the measure's scale.
    None for fewer than `MIN_SENTENCES`."""
    if len(counts) < MIN_SENTENCES:
        return None
    random, values = np.random.default_rng(seed), np.asarray(counts, np.float64)
    step, scores = max(1, CHUNK // len(counts)), list[np.ndarray]()
    for first in range(0, resamples, step):
        drawn = random.integers(len(counts), size=(min(step, resamples - first), len(counts)))
        scores.append(metric(_times(drawn, len(counts)) @ values))
    low, high = np.quantile(np.concatenate(scores), (0.025, 0.975))
    return float(low), float(high)


def interval_or_reason(counts: Float[np.ndarray, "N K"] | Int[np.ndarray, "N K"], metric: Metric) -> dict[str, Any]:
    """`interval` in the form of a report; if there is none, the `reason`."""
    found = interval(counts, metric)
    return {"interval": found} if found else {"interval": None, "reason": TOO_FEW}


def p_text(p: float, at_most: bool = False) -> str:
    """p with its relation: `= 0.123`, `< 0.001`, or `≤ 0.004` for an upper bound, which is rounded up."""
    if p < 0.001:
        return "< 0.001"
    return f"≤ {math.ceil(1000 * p) / 1000:.3f}" if at_most else f"= {p:.3f}"


def over_seeds(system: Sequence[float], baseline: Sequence[float]) -> Difference | None:
    """Welch's t-test of scores over seeds, for runs without counts of sentences; None with a single seed or if no
    scores differ."""
    if min(len(system), len(baseline)) < 2 or np.ptp(system) + np.ptp(baseline) == 0:
        return None
    from scipy.stats import ttest_ind

    test = ttest_ind(system, baseline, equal_var=False)
    low, high = test.confidence_interval(0.95)
    return Difference(
        float(np.mean(system) - np.mean(baseline)), (float(low), float(high)), float(test.pvalue), "seeds"
    )


def holm(p: Sequence[float]) -> list[float]:
    """p-values of several comparisons, corrected for the probability of any false positive (Holm 1979)."""
    corrected, largest = [0.0] * len(p), 0.0
    for rank, index in enumerate(np.argsort(p, kind="stable")):
        largest = max(largest, min(1.0, (len(p) - rank) * p[index]))
        corrected[index] = largest
    return corrected


def _times(drawn: np.ndarray, sentences: int) -> Float[np.ndarray, "R N"]:
    """How often each sentence is in each resample."""
    rows = np.arange(len(drawn))[:, None] * sentences
    return np.bincount((rows + drawn).ravel(), minlength=len(drawn) * sentences).reshape(-1, sentences).astype(float)


def _drawn_seeds(
    found: Float[np.ndarray, " A"], scores: Float[np.ndarray, "R A"], random: np.random.Generator
) -> Float[np.ndarray, " R"]:
    """Difference between the mean of resampled seeds and that of all seeds.

    Args:
        found: score of each seed on all sentences.
        scores: score of each seed on the sentences of each resample.
        random: generator of the resamples.
    """
    count = len(found)
    scale = count / (count - 1)
    by_sentences = scale * (scores - scores.mean(1, keepdims=True)).var(0).mean()
    between = found.var(ddof=1)
    share = max(0.0, 1 - by_sentences / between) if between > 0 else 0.0
    drawn = random.integers(count, size=scores.shape)
    deviations: np.ndarray = (found - found.mean())[drawn].mean(1)
    return deviations * np.sqrt(scale * share)
