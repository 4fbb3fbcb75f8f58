"""Alignment error rate, precision and recall against gold links (Och and Ney 2003)."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from transformer.alignment.words import Links


class Gold(NamedTuple):
    """Links of a sentence pair by hand; every sure one is possible."""

    sure: Links
    possible: Links


def all_sure(alignments: Sequence[Iterable[tuple[int, int]]]) -> list[Gold]:
    """Gold links of which none is doubtful, such as the grammar's."""
    return [Gold(frozenset(links), frozenset(links)) for links in alignments]


class Measured(NamedTuple):
    """Of a corpus: shares from 0 to 1; `interval` is the error rate's, 95% by bootstrap over sentences."""

    aer: float
    precision: float
    recall: float
    sentences: int
    interval: tuple[float, float] | None


def measure(found: Sequence[Links], gold: Sequence[Gold], bootstrap: int = 1000, seed: int = 1) -> Measured:
    """AER = 1 - (|A and S| + |A and P|) / (|A| + |S|); precision |A and P| / |A|; recall |A and S| / |S|.

    Counts are summed over the corpus before they are divided. Raises ValueError for lists of unequal length.
    """
    counts = np.array(
        [
            (len(links), len(g.sure), len(links & g.sure), len(links & (g.possible | g.sure)))
            for links, g in zip(found, gold, strict=True)
        ],
        np.float64,
    ).reshape(-1, 4)
    interval = None
    if bootstrap and len(counts) > 1:
        random = np.random.default_rng(seed)
        drawn = random.integers(len(counts), size=(bootstrap, len(counts)))
        rates = _error_rate(counts[drawn].sum(1))
        interval = (float(np.quantile(rates, 0.025)), float(np.quantile(rates, 0.975)))
    total = counts.sum(0)
    links, sure, of_sure, of_possible = total
    return Measured(
        float(_error_rate(total)),
        float(of_possible / links) if links else 0.0,
        float(of_sure / sure) if sure else 0.0,
        len(counts),
        interval,
    )


def _error_rate(counts: np.ndarray) -> np.ndarray:
    links, sure, of_sure, of_possible = np.moveaxis(counts, -1, 0)
    return np.asarray(1 - (of_sure + of_possible) / np.maximum(links + sure, 1))
