"""A few shapes of batches, chosen so that a corpus has as little padding as possible.

Everything is computed from counts by length, block by block: the lengths may be on disk. Examples have a length for
each of their ragged columns (such as source and target), by name.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from transformer.data import config

Ints: TypeAlias = NDArray[Any]
Lengths: TypeAlias = Mapping[str, Ints]
"""[N] lengths of each ragged column, by its name, end tokens included."""

BLOCK = 1 << 20
"""Examples read at once."""


class Bucket(NamedTuple):
    """The shape of a batch: every program that XLA compiles is for one of these."""

    rows: int
    lengths: tuple[int, ...]
    """For each ragged column, in the order of the examples' columns."""


def choose_buckets(lengths: Lengths, batching: config.Batching, multiple: int, widest: bool = False) -> list[Bucket]:
    """At most `batching.shapes` buckets with the least padding (see `partition`), smallest first.

    A bucket has as many rows as the token budget allows, but no more than an equal share for each of its batches needs;
    or `batching.rows`.

    Args:
        lengths: of N > 0 examples.
        batching: the budget, and how many shapes.
        multiple: divides the rows.
        widest: the last bucket holds all examples.
    """
    columns = list(lengths.values())
    shapes = partition(lengths, batching.shapes, batching.length_multiple)
    if widest:
        shapes[-1] = tuple(max(shape[column] for shape in shapes) for column in range(len(columns)))
    counts = np.zeros(len(shapes), np.int64)
    for block in blocks(*columns):
        counts += np.bincount(assign(block, shapes), minlength=len(shapes))
    buckets = []
    for shape, count in zip(shapes, counts.tolist(), strict=True):
        if batching.rows:
            rows = round_up(min(batching.rows, count), multiple)
        else:
            most = rows_of(batching.tokens, max(shape), multiple)
            rows = round_up(-(-count // max(-(-count // most), 1)), multiple)
        if count or (widest and shape == shapes[-1]):
            buckets.append(Bucket(max(rows, multiple), shape))
    return buckets


def blocks(*columns: Ints) -> Iterator[tuple[Ints, ...]]:
    """The same stretch of each column, as int64, stretch by stretch."""
    for start in range(0, len(columns[0]), BLOCK):
        yield tuple(column[start : start + BLOCK].astype(np.int64) for column in columns)


def partition(lengths: Lengths, shapes: int, length_multiple: int = 1) -> list[tuple[int, ...]]:
    """The lengths of at most `shapes` groups of examples, in order of their longest column.

    Examples are ordered by their longest column and cut into runs; a run's lengths are the longest of each column in
    it, rounded up to `length_multiple`. The cuts minimise the total of padded tokens, exactly, by dynamic programming
    over the D distinct lengths: O(shapes D^2). Of equally good answers, one with the fewest runs.
    """
    columns = list(lengths.values())
    size = 1 + max(int(column.max()) for column in columns)
    counts, longest = np.zeros(size, np.int64), np.zeros((len(columns), size), np.int64)
    for block in blocks(*columns):
        longer = np.maximum.reduce(block)
        counts += np.bincount(longer, minlength=size)
        for number, column in enumerate(block):
            np.maximum.at(longest[number], longer, column)
    distinct = np.flatnonzero(counts)
    size = len(distinct)
    longest = longest[:, distinct]
    before = np.concatenate([[0], np.cumsum(counts[distinct])])

    # cost[i, j]: padded tokens of a run over the distinct lengths i..j, its own shape being widest[:, i, j]
    start_after_end = np.tril(np.ones((size, size), bool), -1)
    rows = np.triu(np.broadcast_to(longest[:, None, :], (len(columns), size, size)))
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
    # One more run may gain nothing while two more do, because lengths are rounded.
    del cuts[int(np.argmin(totals)) + 1 :]

    runs, end = [], size - 1
    for starts in reversed(cuts):
        start = int(starts[end])
        runs.append(tuple(widest[:, start, end].tolist()))
        end = start - 1
    return runs[::-1]


def assign(columns: Sequence[Ints], shapes: Sequence[tuple[int, ...]]) -> Ints:
    """[N] uint16 number of the smallest shape (by the sum of its lengths) that holds each example; len(shapes) if none
    does."""
    numbers = np.full(len(columns[0]), len(shapes), np.uint16)
    for number in sorted(range(len(shapes)), key=lambda n: -sum(shapes[n])):
        fits = [column <= length for column, length in zip(columns, shapes[number], strict=True)]
        numbers[np.logical_and.reduce(fits)] = number
    return numbers


def within(batching: config.Batching, max_length: int) -> config.Batching:
    """The same settings, but without rounding of lengths where that could exceed a model's `max_length`."""
    return replace(batching, length_multiple=1) if max_length % batching.length_multiple else batching


def rows_of(tokens: int, longest: int, multiple: int) -> int:
    """Rows of a batch under a budget of tokens."""
    return max(tokens // longest // multiple, 1) * multiple


def round_up(value: int, multiple: int) -> int:
    """The next multiple."""
    return -(-value // multiple) * multiple
