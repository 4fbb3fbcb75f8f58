"""Measures of predictions, computed from counts that add up over lines.

A measure is a function of counts [K] that are summed over lines: correct answers and answers, or BLEU's matches and
lengths. So a resample of the lines, for an interval or a paired test, is a sum of rows and needs no text.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class Measure:
    """How counts become a score."""

    score: Callable[[Float[np.ndarray, "*R K"]], Float[np.ndarray, "*R"]]
    """Of summed counts; leading axes (resamples) are free."""
    higher_is_better: bool = True
    low: float = 0.0
    high: float = 100.0
    """The scale."""
    digits: int = 2
    """Decimals shown."""


def ratio(counts: Float[np.ndarray, "*R 2"]) -> Float[np.ndarray, "*R"]:
    """100 times the first count over the second, 0 of nothing; accuracy from (right, all)."""
    return 100 * counts[..., 0] / np.maximum(counts[..., 1], 1)
