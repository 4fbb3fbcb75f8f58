"""A few shapes of batches, chosen so that a corpus is padded as little as can be.

Everything is computed from counts by length, walking through the lengths block by block: they may be on disk.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from transformer.data import config

Ints = NDArray[Any]
BLOCK = 1 << 20
"""Examples looked at at once."""


class Bucket(NamedTuple):
    """The shape of a batch: every program that XLA compiles is one of these."""

    rows: int
    source_length: int
    """Tokens, end mark included."""
    target_length: int

    @classmethod
    def of(cls, batch: Any) -> "Bucket":
        """The shape of a batch."""
        rows, source_length = batch.source.shape
        return cls(rows, source_length, batch.target_in.shape[1])


def choose_buckets(
    source_lengths: Ints, target_lengths: Ints, batching: config.Batching, multiple: int, widest: bool = False
) -> list[Bucket]:
    """At most `batching.shapes` buckets, the least padded ones (see `partition`), smallest first.

    source_lengths, target_lengths: [N] tokens, end marks included, N > 0. `multiple` divides the rows. A bucket has as
    many rows as the token budget allows, but no more than an equal share for each of its batches needs; or
    `batching.rows`. With `widest` the last one is made to hold all examples.
    """
    shapes = partition(source_lengths, target_lengths, batching.shapes, batching.length_multiple)
    if widest:
        shapes[-1] = max(shape[0] for shape in shapes), max(shape[1] for shape in shapes)
    counts = np.zeros(len(shapes), np.int64)
    for source, target in blocks(source_lengths, target_lengths):
        counts += np.bincount(assign(source, target, shapes), minlength=len(shapes))
    buckets = []
    for (source_length, target_length), count in zip(shapes, counts.tolist(), strict=True):
        if batching.rows:
            rows = round_up(min(batching.rows, count), multiple)
        else:
            most = rows_of(batching.tokens, max(source_length, target_length), multiple)
            rows = round_up(-(-count // max(-(-count // most), 1)), multiple)
        if count or (widest and (source_length, target_length) == shapes[-1]):
            buckets.append(Bucket(max(rows, multiple), source_length, target_length))
    return buckets


def blocks(*lengths: Ints) -> Iterator[tuple[Ints, ...]]:
    """The same stretch of each array, as int64, one stretch after the other."""
    for start in range(0, len(lengths[0]), BLOCK):
        yield tuple(side[start : start + BLOCK].astype(np.int64) for side in lengths)


def partition(
    source_lengths: Ints, target_lengths: Ints, shapes: int, length_multiple: int = 1
) -> list[tuple[int, int]]:
    """(source length, target length) of at most `shapes` groups of examples, in order of their longer side.

    Examples are ordered by their longer side and cut into runs; a run's lengths are the longest source and
    target in it, rounded up to `length_multiple`. The cuts minimise the total of padded tokens, exactly, by
    dynamic programming over the D distinct lengths: O(shapes D^2). Of equally good answers, one with the
    fewest runs.
    """
    size = 1 + max(int(side.max()) for side in (source_lengths, target_lengths))
    counts, longest = np.zeros(size, np.int64), np.zeros((2, size), np.int64)
    for source, target in blocks(source_lengths, target_lengths):
        longer = np.maximum(source, target)
        counts += np.bincount(longer, minlength=size)
        for side, lengths in enumerate((source, target)):
            np.maximum.at(longest[side], longer, lengths)
    distinct = np.flatnonzero(counts)
    size = len(distinct)
    longest = longest[:, distinct]
    before = np.concatenate([[0], np.cumsum(counts[distinct])])

    # cost[i, j]: padded tokens of a run over the distinct lengths i..j, its own shape being widest[:, i, j]
    start_after_end = np.tril(np.ones((size, size), bool), -1)
    rows = np.triu(np.broadcast_to(longest[:, None, :], (2, size, size)))
    widest = np.maximum.accumulate(rows, axis=2)
    widest = -(-widest // length_multiple) * length_multiple
    cost = (before[None, 1:] - before[:-1, None]) * widest.sum(axis=0)
    cost = np.where(start_after_end, np.inf, cost)  # float64 is exact to 2^53 tokens

    best, cuts = cost[0], [np.zeros(size, np.int64)]  # best[j]: cheapest cover of 0..j with len(cuts) runs
    totals = [best[-1]]
    while len(cuts) < min(shapes, size):
        # a last run i..j (i >= 1) after the best cover of 0..i-1
        total = best[:-1, None] + cost[1:]
        first = np.argmin(total, axis=0)
        best = total[first, np.arange(size)]
        totals.append(best[-1])
        cuts.append(first + 1)
    # One run more may gain nothing, because lengths are rounded, and two more may.
    del cuts[int(np.argmin(totals)) + 1 :]

    runs, end = [], size - 1
    for starts in reversed(cuts):
        start = int(starts[end])
        runs.append((int(widest[0, start, end]), int(widest[1, start, end])))
        end = start - 1
    return runs[::-1]


def assign(source_lengths: Ints, target_lengths: Ints, shapes: Sequence[tuple[int, int]]) -> Ints:
    """[N] uint16 number of the smallest shape (by the sum of its sides) that holds each example; len(shapes) if none
    does."""
    numbers = np.full(len(source_lengths), len(shapes), np.uint16)
    for number in sorted(range(len(shapes)), key=lambda n: -sum(shapes[n])):
        source, target = shapes[number]
        numbers[(source_lengths <= source) & (target_lengths <= target)] = number
    return numbers


def rows_of(tokens: int, longest: int, multiple: int) -> int:
    """Rows of a batch under a budget of tokens."""
    return max(tokens // longest // multiple, 1) * multiple


def round_up(value: int, multiple: int) -> int:
    """The next multiple."""
    return -(-value // multiple) * multiple
