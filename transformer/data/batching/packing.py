"""Several examples in one row of a batch, one after the other: which examples share a row, and the resulting arrays.

Examples are first sorted by their lengths into cells: the examples of a cell have the same length in every ragged
column. Which cells share a row follows from the number of examples in each cell (`fill_rows`), so forty million
examples take no longer than a million. Which examples of its cells a row contains is drawn in every epoch, row by row
on demand (`Packing.examples`).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from transformer.data.batching.batches import check_tokens
from transformer.data.batching.buckets import Lengths, blocks
from transformer.data.batching.shuffle import mix, permute_each
from transformer.data.examples import Ragged
from transformer.special_tokens import PAD

Ints = NDArray[Any]


class Group(NamedTuple):
    """Rows with examples of the same lengths."""

    rows: int
    slots: list[int]
    """With examples numbered cell by cell, row i of the group has the examples slot + i."""


def fill_rows(sizes: Ints, counts: Ints, capacity: Sequence[int]) -> list[Group]:
    """Rows for counts[k] examples of sizes[k], filled one after the other: by the largest example left, and then by the
    one that leaves the least space (Panigrahy et al. 2011, norm-based greedy) until none fits.

    With a single column this is first-fit decreasing. Equal rows are made together: the time depends on the number of
    cells, not of examples, as in Krell et al. 2021.

    Args:
        sizes: [M, C] lengths of an example of each cell, in each column.
        counts: [M] examples of each cell, above 0.
        capacity: [C] tokens of a row.
    """
    limits = np.asarray(capacity, np.int64)
    parts = np.lcm.reduce(limits) // limits  # tokens are shares of a row, so that no column counts more than another
    order = np.lexsort((np.arange(len(sizes)), -(sizes * parts).sum(1), -(sizes * parts).max(1)))
    places, sizes, counts = (np.cumsum(counts) - counts)[order], sizes[order], counts[order]
    groups, first = list[Group](), 0
    while first < len(sizes):  # the first cell that has examples left
        cell, free, used = first, limits, Counter[int]()
        fits = first + np.flatnonzero(counts[first:])
        while True:
            used[cell] += 1
            free = free - sizes[cell]
            if used[cell] == counts[cell]:
                fits = fits[fits != cell]
            fits = fits[(sizes[fits] <= free).all(1)]
            if not len(fits):
                break
            cell = int(fits[np.argmin(((parts * (free - sizes[fits])) ** 2).sum(1))])
        cells, each = np.array(list(used)), np.array(list(used.values()))
        rows = int((counts[cells] // each).min())
        groups.append(Group(rows, [int(places[c]) + rows * n for c, number in used.items() for n in range(number)]))
        places[cells] += rows * each
        counts[cells] -= rows * each
        while first < len(sizes) and not counts[first]:
            first += 1
    return groups


@dataclass(frozen=True, eq=False)
class Packing:
    """Rows that hold every example once, in cells by length."""

    members: Ints
    """[N] uint32 example ids, cell by cell."""
    cells: Ints
    """[M + 1] int64: the examples of cell k are members[cells[k]:cells[k + 1]]."""
    rows: Ints
    """[G + 1] int64: the rows of group g are rows[g], ..., rows[g + 1] - 1."""
    slots: Ints
    """[total] int64: the slots of all groups, see `Group.slots`."""
    offsets: Ints
    """[G + 1] int64: the slots of group g are slots[offsets[g]:offsets[g + 1]]."""
    tokens: Ints
    """[G, C] int64: tokens of each column in a row of each group."""

    def __len__(self) -> int:
        """Rows."""
        return int(self.rows[-1])

    def groups(self, rows: Ints) -> Ints:
        """[n] the groups of rows."""
        found: Ints = np.searchsorted(self.rows, rows, side="right") - 1
        return found

    def examples(self, rows: Ints, keys: Ints) -> Ints:
        """[n, k] ids of the examples in each row, in their order; -1 after the last one.

        Args:
            rows: [n] below len(self).
            keys: [n] uint64. All rows with one key hold every example once.
        """
        groups = self.groups(rows)
        first, count = self.offsets[groups], self.offsets[groups + 1] - self.offsets[groups]
        each = np.arange(count.max(initial=0))
        real = each < count[:, None]
        places = self.slots[(first[:, None] + each)[real]] + np.repeat(rows - self.rows[groups], count)
        cells = np.searchsorted(self.cells, places, side="right") - 1
        start = self.cells[cells]
        dealt = permute_each(
            places - start, self.cells[cells + 1] - start, mix(cells.astype(np.uint64), np.repeat(keys, count))
        )
        ids = np.full(real.shape, -1, np.int64)
        ids[real] = self.members[start + dealt]
        return ids


def pack_examples(lengths: Lengths, edges: Sequence[int], capacity: Sequence[int]) -> tuple[Packing, list[int]]:
    """Rows of examples with these lengths, and the number of rows of each corpus: a row has examples of one corpus.

    Args:
        lengths: of all corpora, one after the other.
        edges: where each corpus begins, and the end of the last.
        capacity: tokens of a row, in each column.

    Raises ValueError for an example that fits in no row.
    """
    columns = list(lengths.values())
    corpora = [_by_length([column[start:stop] for column in columns], capacity) for start, stop in pairwise(edges)]
    groups, rows = list[Group](), []
    for (ids, sizes, counts), start in zip(corpora, edges, strict=False):
        found = fill_rows(sizes, counts, capacity)
        groups += [Group(each.rows, [start - edges[0] + slot for slot in each.slots]) for each in found]
        rows.append(sum(each.rows for each in found))
        ids += np.uint32(start)
    members, sizes, counts = (np.concatenate(parts) for parts in zip(*corpora, strict=True))
    cells, offsets = _ends(counts), _ends([len(group.slots) for group in groups])
    slots = np.fromiter((slot for group in groups for slot in group.slots), np.int64, int(offsets[-1]))
    held = sizes[np.searchsorted(cells, slots, side="right") - 1]
    tokens = np.add.reduceat(held, offsets[:-1], axis=0) if groups else np.zeros((0, len(columns)), np.int64)
    return Packing(members, cells, _ends([group.rows for group in groups]), slots, offsets, tokens), rows


def _by_length(columns: Sequence[Ints], capacity: Sequence[int]) -> tuple[Ints, Ints, Ints]:
    """(example ids [N] uint32, cell by cell; lengths of the M cells [M, C]; their examples [M])."""
    shape = tuple(length + 1 for length in capacity)
    counts = np.zeros(int(np.prod(shape)), np.int64)
    for block in blocks(*columns):
        if any((column > length).any() for column, length in zip(block, capacity, strict=True)):
            raise ValueError("an example fits in no row")
        counts += np.bincount(np.ravel_multi_index(block, shape), minlength=len(counts))
    codes = np.flatnonzero(counts)
    filled, ids, start = np.cumsum(counts) - counts, np.empty(len(columns[0]), np.uint32), 0
    for block in blocks(*columns):
        code = np.ravel_multi_index(block, shape)
        order = np.argsort(code, kind="stable")
        code = code[order]
        within = np.arange(len(code)) - np.searchsorted(code, code)
        ids[filled[code] + within] = start + order
        filled += np.bincount(code, minlength=len(counts))
        start += len(code)
    return ids, np.stack(np.unravel_index(codes, shape), 1), counts[codes]


def _ends(counts: Sequence[int] | Ints) -> Ints:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(np.asarray(counts, np.int64))])


def pack(column: Ragged, rows: int, length: int, ids: Ints) -> tuple[Ints, Ints]:
    """(values, segments), both [rows, length] int32, of rows that hold several examples one after the other.

    The segment of a value is 1 for the first example of its row, 2 for the second, and so on; 0 is padding.

    Args:
        column: of all examples.
        rows: of the batch; those beyond `ids` are padding.
        length: of a row.
        ids: [n, k] examples of each row, -1 after its last one.

    Raises TransformerError for a value outside the vocabulary.
    """
    real = ids >= 0
    lengths = np.where(real, column.lengths[np.maximum(ids, 0)], 0).astype(np.int64)
    starts = np.cumsum(lengths, axis=1) - lengths + np.arange(len(ids))[:, None] * length
    flat = lengths.ravel()
    within = np.arange(flat.sum()) - np.repeat(np.cumsum(flat) - flat, flat)
    places = np.repeat(starts.ravel(), flat) + within
    values, segments = np.full(rows * length, PAD, np.int32), np.zeros(rows * length, np.int32)
    values[places] = column.values[np.repeat(column.offsets[np.maximum(ids, 0)].ravel(), flat) + within]
    segments[places] = np.repeat(np.broadcast_to(np.arange(1, ids.shape[1] + 1), ids.shape).ravel(), flat)
    check_tokens(values, column)
    return values.reshape(rows, length), segments.reshape(rows, length)


def segment_lengths(segments: Ints) -> Ints:
    """[rows * most] tokens of each segment of each row, 0 for a segment that a row does not have."""
    most = int(segments.max(initial=0)) + 1
    numbers = np.arange(len(segments))[:, None] * most + segments
    counts = np.bincount(numbers.ravel(), minlength=len(segments) * most)
    return counts.reshape(len(segments), most)[:, 1:].ravel()
