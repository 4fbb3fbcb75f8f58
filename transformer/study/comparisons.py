"""Scores of the trials of a table's variants, and the differences between variants."""

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from transformer.errors import TransformerError
from transformer.evaluation.measures import Measure
from transformer.evaluation.significance import LEVEL, MIN_SENTENCES, Difference, compare, holm, over_seeds
from transformer.study.results import counts_of, min_words
from transformer.study.variants import Pair

Trials = Sequence[dict[str, Any]]
"""Results of the trials of a variant, one for each seed."""
ByVariant = Mapping[str, Trials]
"""The same for each variant, by its name."""


class Comparison(NamedTuple):
    """A difference between two variants."""

    difference: Difference
    p: float
    """After Holm's correction for all comparisons of the table."""

    @property
    def significant(self) -> bool:
        """At the 0.05 level."""
        return self.p < LEVEL


def scores(trials: Trials, metric: str, part: str = "test") -> list[float]:
    """A measure, or the perplexity, of the trials that have it."""
    found = [trial[part] for trial in trials if part in trial]
    if metric == "perplexity":
        return [each["perplexity"] for each in found if "perplexity" in each]
    return [each["scores"][metric]["value"] for each in found if metric in each["scores"]]


class Spread(NamedTuple):
    """Mean of a score over seeds, and its uncertainty."""

    mean: float
    deviation: float | None
    """Standard deviation over seeds; None if there is one seed."""
    interval: tuple[float, float] | None
    """95% interval over sentences of a single seed; None if not known."""

    @property
    def bar(self) -> tuple[float, float]:
        """Lengths of the error bar below and above the mean; NaN if not known."""
        if self.deviation is not None:
            return self.deviation, self.deviation
        if self.interval is None:
            return math.nan, math.nan
        return max(0.0, self.mean - self.interval[0]), max(0.0, self.interval[1] - self.mean)


def spread(values: Sequence[float], interval: Sequence[float] | None = None) -> Spread:
    """Mean and deviation of the scores of all seeds. `interval` is used if there is one seed."""
    if len(values) > 1:
        return Spread(statistics.fmean(values), statistics.stdev(values), None)
    return Spread(values[0], None, (interval[0], interval[1]) if interval else None)


def score(trials: Trials, metric: str, measure: Measure | None, part: str = "test") -> Spread | None:
    """The summary of a measure, or of the perplexity (measure None); None if no trial has it. Only measures with counts
    have intervals."""
    values = scores(trials, metric, part)
    if not values:
        return None
    if measure is None or measure.score is None:
        return spread(values)
    first = next(trial[part]["scores"][metric] for trial in trials if metric in trial.get(part, {}).get("scores", {}))
    return spread(values, first.get("interval"))


def by_length(trials: Trials) -> dict[str, Spread]:
    """BLEU of each bin of source lengths."""
    found: dict[str, list[dict[str, Any]]] = {}
    for trial in trials:
        for row in trial["test"].get("by_length", ()):
            found.setdefault(row["words"], []).append(row)
    return {words: spread([row["bleu"] for row in rows], rows[0].get("interval")) for words, rows in found.items()}


def bins(variants: ByVariant) -> list[str]:
    """Bins of source lengths that any variant has, short to long."""
    tests = [trial["test"] for trials in variants.values() for trial in trials]
    return sorted({row["words"] for test in tests for row in test.get("by_length", ())}, key=min_words)


def with_baseline(
    variants: ByVariant, baseline: str, metric: str, measures: Mapping[str, Measure]
) -> dict[str, Comparison]:
    """Each other variant that can be compared with the baseline.

    If all runs of both have counts of the same sentences, these are resampled (`compare`). Otherwise the scores of
    several seeds are tested (`over_seeds`). A variant with one seed and no counts is left out, and so is one with a
    different test set.
    """
    if baseline not in variants:
        return {}
    every = [Pair(name, baseline, metric) for name in variants if name != baseline]
    return {pair.system: found for pair, found in in_pairs(variants, every, measures).items()}


def in_pairs(variants: ByVariant, pairs: Sequence[Pair], measures: Mapping[str, Measure]) -> dict[Pair, Comparison]:
    """Each pair that can be compared, as in `with_baseline`. p is corrected for all of these.

    A pair without a metric is compared by the first of the measures.
    """
    found = {}
    for pair in pairs:
        metric = pair.metric or next(iter(measures))
        found[pair] = _difference(variants[pair.system], variants[pair.baseline], metric, measures[metric])
    tested = {pair: difference for pair, difference in found.items() if difference is not None}
    corrected = holm([difference.p for difference in tested.values()])
    return {pair: Comparison(tested[pair], p) for pair, p in zip(tested, corrected, strict=True)}


def _difference(trials: Trials, baseline: Trials, metric: str, measure: Measure) -> Difference | None:
    every = [*trials, *baseline]
    corpora = {trial["test"]["corpus"] for trial in every if "corpus" in trial["test"]}
    if len(corpora) > 1 or len({_test_set(trial) for trial in every}) > 1:
        return None
    counts = [[counts_of(trial["test"], metric) for trial in each] for each in (trials, baseline)]
    known = [[one for one in each if one is not None] for each in counts]
    if len({len(one) for each in known for one in each}) > 1:
        names = " and ".join(each[0]["variant"] for each in (trials, baseline))
        raise TransformerError(f"the results of {names} share a test set, but have counts of different sentences")
    whole = all(len(some) == len(each) for some, each in zip(known, counts, strict=True))
    if measure.score is not None and whole and len(known[0][0]) >= MIN_SENTENCES:
        return compare(np.stack(known[0]), np.stack(known[1]), measure.score)
    return over_seeds(scores(trials, metric), scores(baseline, metric))


def _test_set(trial: Mapping[str, Any]) -> str:
    """The test set that its settings request, and how it is scored. Older results record nothing else about it."""
    data = trial["config"]["data"]
    grammar = {name: value for name, value in data.get("grammar", {}).items() if name not in ("train", "validation")}
    test = grammar if data["source"] == "grammar" else data["test"]
    return json.dumps([data["source"], data["languages"], test, trial["scoring"]])
