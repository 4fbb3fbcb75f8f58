"""Measures of predictions, computed from counts that add up over lines.

The score is a function of counts [K] that are summed over lines: correct answers and answers, or BLEU's matches and
lengths. A resample of the lines, for an interval or a paired test, is then a sum of rows and needs no text.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Float, Num

from transformer.evaluation.significance import MIN_SENTENCES, TOO_FEW, compare, interval_or_reason

Counts: TypeAlias = Mapping[str, Num[np.ndarray, "N _"]]
"""Counts [N, K] of measures by their names, a row for each line."""


@dataclass(frozen=True)
class Measure:
    """How counts become a score, and how the score is shown."""

    score: Callable[[Float[np.ndarray, "*R K"]], Float[np.ndarray, "*R"]] | None
    """The score of summed counts; leading axes (resamples) are free. None: the score has no counts, so it is not
    resampled."""
    higher_is_better: bool = True
    low: float = 0.0
    high: float = 100.0
    """The scale."""
    digits: int = 2
    """Decimals shown in tables."""
    column: str = ""
    """Header of its column in tables; "" for its name."""
    label: str = ""
    """Label of its axis in figures; "" for its name."""


WRITTEN = {"bleu": "BLEU", "chrf": "chrF", "ter": "TER", "aer": "AER"}
"""Measures of validations whose usual spelling differs from their key."""


def written(name: str) -> str:
    """The usual spelling of a measure's name: BLEU, not bleu."""
    return WRITTEN.get(name, name.replace("_", " "))


def ratio(counts: Float[np.ndarray, "*R 2"]) -> Float[np.ndarray, "*R"]:
    """100 times the first count over the second, 0 if that is 0: accuracy from (correct, all)."""
    return 100 * counts[..., 0] / np.maximum(counts[..., 1], 1)


def scores(counts: Counts, measures: Mapping[str, Measure]) -> dict[str, dict[str, Any]]:
    """The score of each measure that has counts, with its 95% interval by bootstrap over lines, or the reason for its
    absence."""
    found = {}
    for name, measure in measures.items():
        if name in counts and measure.score is not None:
            value = float(measure.score(np.asarray(counts[name], np.float64).sum(0)))
            found[name] = {"name": name, "value": value, **interval_or_reason(counts[name], measure.score)}
    return found


def differences(
    counts: Counts,
    baseline: Counts,
    measures: Mapping[str, Measure],
) -> dict[str, dict[str, Any]]:
    """The difference from a baseline on the same lines in each measure that both have counts for: paired bootstrap over
    lines (Koehn 2004) with a 95% interval and a two-sided p. Fewer than two lines are not tested."""
    found = {}
    for name, measure in measures.items():
        if name not in counts or name not in baseline or measure.score is None:
            continue
        own, other = (np.asarray(each[name], np.float64) for each in (counts, baseline))
        values: dict[str, Any] = {"baseline": float(measure.score(other.sum(0)))}
        if len(own) < MIN_SENTENCES:
            value = float(measure.score(own.sum(0))) - values["baseline"]
            found[name] = {**values, "difference": value, "interval": None, "p": None, "reason": TOO_FEW}
            continue
        difference = compare(own[None], other[None], measure.score)
        found[name] = {
            **values,
            "difference": difference.value,
            "interval": difference.interval,
            "p": difference.p,
            "at_most": difference.at_most,
        }
    return found
