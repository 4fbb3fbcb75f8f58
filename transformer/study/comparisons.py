"""Scores of the trials of a table's variants, and the differences between variants."""

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from transformer.alignment.measure import error_rate
from transformer.errors import TransformerError
from transformer.evaluation.metrics import bleu_of_counts
from transformer.evaluation.significance import LEVEL, Difference, compare, holm, over_seeds
from transformer.study.results import min_words, tokenizer, unpack
from transformer.study.variants import Metric, Pair

Trials = Sequence[dict[str, Any]]
"""Results of the trials of a variant, one for each seed."""
ByVariant = Mapping[str, Trials]
"""The same of each variant, by its name."""


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
    """BLEU, chrF2 (0..100), perplexity or AER (0..1) of the trials that have it."""
    found = [trial[part] for trial in trials if part in trial]
    if metric == "perplexity":
        return [one["perplexity"] for one in found]
    if metric == "AER":
        return [one["alignment"]["aer"] for one in found if "alignment" in one]
    return [one["scores"][metric]["value"] for one in found]


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
    """Of the scores of all seeds. `interval` is used if there is one seed."""
    if len(values) > 1:
        return Spread(statistics.fmean(values), statistics.stdev(values), None)
    return Spread(values[0], None, (interval[0], interval[1]) if interval else None)


def score(trials: Trials, metric: str, part: str = "test") -> Spread | None:
    """Of a metric that `scores` knows; None if no trial has it. BLEU and AER have intervals."""
    values = scores(trials, metric, part)
    if not values:
        return None
    one = next(trial[part] for trial in trials if part in trial and (metric != "AER" or "alignment" in trial[part]))
    about = {"BLEU": one["scores"]["BLEU"], "AER": one.get("alignment")}.get(metric) or {}
    return spread(values, about.get("interval"))


def by_length(trials: Trials) -> dict[str, Spread]:
    """BLEU of each bin of source lengths."""
    found: dict[str, list[dict[str, Any]]] = {}
    for trial in trials:
        for row in trial["test"]["by_length"]:
            found.setdefault(row["words"], []).append(row)
    return {words: spread([row["bleu"] for row in rows], rows[0].get("interval")) for words, rows in found.items()}


def bins(variants: ByVariant) -> list[str]:
    """Bins of source lengths that any variant has, short to long."""
    words = {row["words"] for trials in variants.values() for trial in trials for row in trial["test"]["by_length"]}
    return sorted(words, key=min_words)


def with_baseline(variants: ByVariant, baseline: str, metric: Metric) -> dict[str, Comparison]:
    """Each other variant that can be compared with the baseline.

    If all runs of both have counts of the same sentences, these are resampled (`compare`). Otherwise the scores of
    several seeds are tested (`over_seeds`). A variant with one seed and no counts is left out, and so is one with
    another test set.
    """
    if baseline not in variants:
        return {}
    every = [Pair(name, baseline, metric) for name in variants if name != baseline]
    return {pair.system: found for pair, found in in_pairs(variants, every).items()}


def in_pairs(variants: ByVariant, pairs: Sequence[Pair]) -> dict[Pair, Comparison]:
    """Each pair that can be compared, as in `with_baseline`. p is corrected for all of these."""
    found = {pair: _difference(variants[pair.system], variants[pair.baseline], pair.metric) for pair in pairs}
    tested = {pair: difference for pair, difference in found.items() if difference is not None}
    corrected = holm([difference.p for difference in tested.values()])
    return {pair: Comparison(tested[pair], p) for pair, p in zip(tested, corrected, strict=True)}


def _difference(trials: Trials, baseline: Trials, metric: str) -> Difference | None:
    every = [*trials, *baseline]
    corpora = {trial["test"]["corpus"] for trial in every if "corpus" in trial["test"]}
    if len(corpora) > 1 or len({_test_set(trial) for trial in every}) > 1:
        return None
    counts = [[_counts(trial["test"], metric) for trial in each] for each in (trials, baseline)]
    known = [[one for one in each if one is not None] for each in counts]
    if len({len(one) for each in known for one in each}) > 1:
        names = " and ".join(each[0]["variant"] for each in (trials, baseline))
        raise TransformerError(f"the results of {names} share a test set, but have counts of other sentences")
    if all(len(some) == len(each) for some, each in zip(known, counts, strict=True)):
        return compare(np.stack(known[0]), np.stack(known[1]), bleu_of_counts if metric == "BLEU" else error_rate)
    return over_seeds(scores(trials, metric), scores(baseline, metric))


def _test_set(trial: Mapping[str, Any]) -> str:
    """The test set that its settings ask for, and how it is scored. Older results say no more about it."""
    data = trial["config"]["data"]
    grammar = {name: value for name, value in data.get("grammar", {}).items() if name not in ("train", "validation")}
    test = grammar if data["source"] == "grammar" else data["test"]
    return json.dumps([data["source"], data["languages"], test, tokenizer(trial)])


def _counts(part: Mapping[str, Any], metric: str) -> np.ndarray | None:
    if metric == "AER":
        return unpack(part["alignment"]["counts"], 4) if "counts" in part.get("alignment", {}) else None
    return unpack(part["counts"], 10) if "counts" in part else None
