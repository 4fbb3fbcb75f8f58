"""The trials of a table's cells, each cell beside the baseline."""

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from transformer.alignment.measure import error_rate
from transformer.errors import TransformerError
from transformer.study.cells import Metric, Pair
from transformer.study.results import least_words, tokenizer, unpack
from transformer.study.statistics import LEVEL, Difference, bleu, compare, holm, over_seeds

Trials = Sequence[dict[str, Any]]
Cells = Mapping[str, Trials]
"""Results of the trials of each cell."""


class Compared(NamedTuple):
    """A cell's difference from the baseline, and its p among all comparisons of the table."""

    difference: Difference
    p: float
    """Corrected by Holm's method."""

    @property
    def significant(self) -> bool:
        """At the level of the package."""
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
    """A score's mean over seeds, and how sure it is."""

    mean: float
    deviation: float | None
    """Standard deviation over seeds; None: there is one."""
    interval: tuple[float, float] | None
    """95% over sentences, of a single seed; None: not known."""

    @property
    def bar(self) -> tuple[float, float]:
        """How far an error bar goes below and above the mean; NaN where nothing is known."""
        if self.deviation is not None:
            return self.deviation, self.deviation
        if self.interval is None:
            return math.nan, math.nan
        return max(0.0, self.mean - self.interval[0]), max(0.0, self.interval[1] - self.mean)


def spread(values: Sequence[float], interval: Sequence[float] | None = None) -> Spread:
    """Of the scores of all seeds; `interval` counts where there is one seed."""
    if len(values) > 1:
        return Spread(statistics.fmean(values), statistics.stdev(values), None)
    return Spread(values[0], None, (interval[0], interval[1]) if interval else None)


def score(trials: Trials, metric: str, part: str = "test") -> Spread | None:
    """Of a metric that `scores` knows; None where no trial has it. BLEU and AER come with intervals."""
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


def bins(cells: Cells) -> list[str]:
    """Bins of source lengths that any cell has, short to long."""
    there = {row["words"] for trials in cells.values() for trial in trials for row in trial["test"]["by_length"]}
    return sorted(there, key=least_words)


def with_baseline(cells: Cells, baseline: str, metric: Metric) -> dict[str, Compared]:
    """Each other cell that can be compared with the baseline.

    Where all runs of both have their sentences' counts, on the same test set, these are resampled (`compare`).
    Otherwise the scores of several seeds are tested (`over_seeds`), and a cell that has not even those, or another test
    set, is left out.
    """
    if baseline not in cells:
        return {}
    every = [Pair(name, baseline, metric) for name in cells if name != baseline]
    return {pair.one: found for pair, found in in_pairs(cells, every).items()}


def in_pairs(cells: Cells, pairs: Sequence[Pair]) -> dict[Pair, Compared]:
    """Each pair that can be compared, as `with_baseline` has it; p is corrected for all of these."""
    found = {pair: _difference(cells[pair.one], cells[pair.other], pair.metric) for pair in pairs}
    there = {pair: difference for pair, difference in found.items() if difference is not None}
    corrected = holm([difference.p for difference in there.values()])
    return {pair: Compared(there[pair], p) for pair, p in zip(there, corrected, strict=True)}


def _difference(trials: Trials, baseline: Trials, metric: str) -> Difference | None:
    every = [*trials, *baseline]
    corpora = {trial["test"]["corpus"] for trial in every if "corpus" in trial["test"]}
    if len(corpora) > 1 or len({_asked(trial) for trial in every}) > 1:
        return None
    counts = [[_counts(trial["test"], metric) for trial in each] for each in (trials, baseline)]
    known = [[one for one in each if one is not None] for each in counts]
    if len({len(one) for each in known for one in each}) > 1:
        names = " and ".join(f"{each[0]['cell']}" for each in (trials, baseline))
        raise TransformerError(f"the results of {names} are of one test set, and have counts of other sentences")
    if all(len(some) == len(each) for some, each in zip(known, counts, strict=True)):
        return compare(np.stack(known[0]), np.stack(known[1]), bleu if metric == "BLEU" else error_rate)
    return over_seeds(scores(trials, metric), scores(baseline, metric))


def _asked(trial: Mapping[str, Any]) -> str:
    """Which test set its settings ask for, and how it is scored: all that results of older versions say of it."""
    data = trial["config"]["data"]
    grammar = {name: value for name, value in data.get("grammar", {}).items() if name not in ("train", "validation")}
    test = grammar if data["source"] == "grammar" else data["test"]
    return json.dumps([data["source"], data["languages"], test, tokenizer(trial)])


def _counts(part: Mapping[str, Any], metric: str) -> np.ndarray | None:
    if metric == "AER":
        return unpack(part["alignment"]["counts"], 4) if "counts" in part.get("alignment", {}) else None
    return unpack(part["counts"], 10) if "counts" in part else None
