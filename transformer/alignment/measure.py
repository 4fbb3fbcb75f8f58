"""Alignment error rate, precision and recall against gold links (Och and Ney 2003)."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from transformer.alignment.links import Links


class Gold(NamedTuple):
    """Manual links of a sentence pair; every sure link is also possible."""

    sure: Links
    possible: Links


def all_sure(alignments: Iterable[Iterable[tuple[int, int]]]) -> list[Gold]:
    """Gold links that are all sure, such as the grammar's."""
    return [Gold(frozenset(links), frozenset(links)) for links in alignments]


class Measured(NamedTuple):
    """Error rate, precision and recall of a corpus, from 0 to 1; `interval` is the 95% bootstrap interval of the error
    rate, resampled over sentences."""

    aer: float
    precision: float
    recall: float
    sentences: int
    """Pairs whose links are counted."""
    interval: tuple[float, float] | None
    left_out: int = 0
    """Pairs that were not aligned, or have no usable gold links: neither kind of links is counted."""


def measure(
    predicted: Sequence[Links | None], gold: Sequence[Gold | None], bootstrap: int = 1000, seed: int = 1
) -> Measured:
    """AER = 1 - (|A and S| + |A and P|) / (|A| + |S|); precision |A and P| / |A|; recall |A and S| / |S|.

    Counts are summed over the corpus before they are divided. A pair without links of either kind (None) is left out.
    Raises ValueError for lists of unequal length.
    """
    counts = link_counts(predicted, gold)[[None not in pair for pair in zip(predicted, gold, strict=True)]]
    interval = None
    if bootstrap and len(counts) > 1:
        random = np.random.default_rng(seed)
        drawn = random.integers(len(counts), size=(bootstrap, len(counts)))
        rates = error_rate(counts[drawn].sum(1))
        interval = (float(np.quantile(rates, 0.025)), float(np.quantile(rates, 0.975)))
    total = counts.sum(0)
    links, sure, of_sure, of_possible = total
    return Measured(
        float(error_rate(total)),
        float(of_possible / links) if links else 0.0,
        float(of_sure / sure) if sure else 0.0,
        len(counts),
        interval,
        len(predicted) - len(counts),
    )


def link_counts(predicted: Sequence[Links | None], gold: Sequence[Gold | None]) -> Int[np.ndarray, "N 4"]:
    """For each sentence the numbers of links, sure gold links, links that are sure, and links that are possible.

    The error rate of a set of sentences is that of the sum of their counts. A pair without links of either kind (None)
    has zero counts. Raises ValueError for lists of unequal length.
    """
    rows = [
        (0, 0, 0, 0)
        if links is None or g is None
        else (len(links), len(g.sure), len(links & g.sure), len(links & (g.possible | g.sure)))
        for links, g in zip(predicted, gold, strict=True)
    ]
    return np.array(rows, np.int64).reshape(-1, 4)


def error_rate(counts: Float[np.ndarray, "... 4"] | Int[np.ndarray, "... 4"]) -> np.ndarray:
    """Alignment error rate, from 0 to 1, of counts as `link_counts` returns them, or of their sums."""
    links, sure, of_sure, of_possible = np.moveaxis(np.asarray(counts, np.float64), -1, 0)
    return np.asarray(1 - (of_sure + of_possible) / np.maximum(links + sure, 1))
