"""Whether two systems differ: resampling of sentences and of seeds, and what many comparisons ask for.

Letters: N sentences, A and B seeds of two systems, R resamples, K counts that are enough to compute a score: a corpus'
score is that of the sum of its sentences' counts.
"""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float, Int

RESAMPLES = 2_000
LEVEL = 0.05
"""A difference counts as significant when its corrected p is below."""

Metric: TypeAlias = Callable[[np.ndarray], np.ndarray]
"""Counts [..., K] to scores [...]."""


class Difference(NamedTuple):
    """How far a system's mean over seeds is from a baseline's."""

    value: float
    interval: tuple[float, float]
    """95%."""
    p: float
    """Two-sided; of this comparison alone, before any correction."""
    over: Literal["sentences, seeds", "sentences", "seeds"]
    """What was resampled, or (seeds alone) tested."""
    at_most: bool = False
    """No resample was as far: p is as small as so many resamples can tell, or smaller."""


def compare(
    system: Float[np.ndarray, "A N K"] | Int[np.ndarray, "A N K"],
    baseline: Float[np.ndarray, "B N K"] | Int[np.ndarray, "B N K"],
    metric: Metric,
    resamples: int = RESAMPLES,
    seed: int = 12345,
) -> Difference:
    """Mean score over the seeds of a system, less the baseline's, on the same sentences; by bootstrap.

    p is the share of resamples that are as far from the difference found as that is from zero (their distribution is
    moved to the null hypothesis). It is two-sided in all cases. sacreBLEU's paired bootstrap gives, from the same
    resamples, about half of it: the share beyond the mean distance, which under the null hypothesis is below 0.05 in a
    tenth of all comparisons.

    Args:
        system: counts of each seed and sentence.
        baseline: the same, of the system that it is compared with.
        metric: from counts to scores.
        resamples: R.
        seed: of what is drawn.

    Raises ValueError when the two have another number of sentences.
    """
    found = [metric(np.asarray(counts, np.float64).sum(1)).mean() for counts in (system, baseline)]
    value = float(found[0] - found[1])
    each = resampled(system, baseline, metric, resamples, seed)
    # Where nothing differs at all, rounding must not count as a difference.
    beyond = int(np.count_nonzero(np.abs(each - value) >= abs(value) - 1e-9))
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
    """The difference of means over seeds in each resample. Arguments and errors as `compare`.

    With several seeds of both, on two levels: each resample draws sentences, the same for every run, and of each system
    as many of its seeds, with replacement. That alone counts up to three times what the choice of sentences does to a
    single run, since scores of seeds differ by it too (Owen 2007, "The pigeonhole bootstrap"); so the seeds' deviations
    are shrunk to the variance that sentences do not explain, and stretched by the root of n / (n - 1), for a mean of n
    drawn seeds varies so much less than that of n new ones. Where one of the two has a single seed, nothing is known of
    others, and sentences alone are drawn (Koehn 2004), as sacreBLEU draws them.

    Three seeds are few: simulated with normal scores and no difference, p is below 0.05 in 7% of comparisons of three
    with three where seeds and sentences matter alike, and in 13% where seeds alone do.
    """
    sets = [np.asarray(counts, np.float64) for counts in (system, baseline)]
    sentences = sets[0].shape[1]
    if sets[1].shape[1] != sentences:
        raise ValueError(f"runs of {sentences} and {sets[1].shape[1]} sentences cannot be paired")
    random = np.random.default_rng(seed)
    drawn = random.choice(sentences, size=(resamples, sentences), replace=True)
    weights = _times(drawn, sentences)
    means = []
    single = min(len(counts) for counts in sets) == 1
    for counts in sets:
        scores = metric(np.einsum("rn,ank->rak", weights, counts, optimize=True))  # [R, A]
        means.append(scores.mean(1) + (0.0 if single else _drawn_seeds(metric(counts.sum(1)), scores, random)))
    return np.asarray(means[0] - means[1])


def over_seeds(system: Sequence[float], baseline: Sequence[float]) -> Difference | None:
    """Welch's t-test of scores over seeds, for runs of whose sentences nothing is known; None where it cannot be made:
    with a single seed, or where none differs from another."""
    if min(len(system), len(baseline)) < 2 or np.ptp(system) + np.ptp(baseline) == 0:
        return None
    from scipy.stats import ttest_ind

    test = ttest_ind(system, baseline, equal_var=False)
    low, high = test.confidence_interval(0.95)
    return Difference(
        float(np.mean(system) - np.mean(baseline)), (float(low), float(high)), float(test.pvalue), "seeds"
    )


def holm(p: Sequence[float]) -> list[float]:
    """p-values of several comparisons, corrected so that the chance of any false one is kept (Holm 1979)."""
    corrected, largest = [0.0] * len(p), 0.0
    for rank, index in enumerate(np.argsort(p, kind="stable")):
        largest = max(largest, min(1.0, (len(p) - rank) * p[index]))
        corrected[index] = largest
    return corrected


def _times(drawn: np.ndarray, sentences: int) -> Float[np.ndarray, "R N"]:
    """How often each resample has each sentence."""
    rows = np.arange(len(drawn))[:, None] * sentences
    return np.bincount((rows + drawn).ravel(), minlength=len(drawn) * sentences).reshape(-1, sentences).astype(float)


def _drawn_seeds(
    found: Float[np.ndarray, " A"], scores: Float[np.ndarray, "R A"], random: np.random.Generator
) -> Float[np.ndarray, " R"]:
    """How far the mean of drawn seeds is from that of all.

    Args:
        found: score of each seed on all sentences.
        scores: the same on the sentences of each resample.
        random: draws.
    """
    count = len(found)
    grow = count / (count - 1)
    by_sentences = grow * (scores - scores.mean(1, keepdims=True)).var(0).mean()
    between = found.var(ddof=1)
    share = max(0.0, 1 - by_sentences / between) if between > 0 else 0.0
    drawn = random.integers(count, size=scores.shape)
    deviations: np.ndarray = (found - found.mean())[drawn].mean(1)
    return deviations * np.sqrt(grow * share)
