"""Plans of packed rows: which rows are in which batch of an epoch, and which examples are in a row.

An epoch orders rows as other plans order examples, and redistributes examples of equal lengths over the rows. If an
epoch takes only part of a corpus, its rows keep the same examples in every epoch, so that all examples occur equally
often.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transformer.data import config
from transformer.data.batching.buckets import Bucket, Lengths, blocks, round_up, rows_of
from transformer.data.batching.packing import Packing, pack_examples
from transformer.data.batching.plan import Plan, Plans, Share, in_order
from transformer.data.batching.shuffle import key_of

Ints = NDArray[Any]


@dataclass(frozen=True, eq=False)
class PackedPlan(Plan):
    """The batches of an epoch. The items of its parts are rows of the packing."""

    packing: Packing
    corpora: tuple[int, ...]
    """Where the rows of each corpus begin, and the end of the last."""

    def batch(self, position: int) -> tuple[int, Ints]:
        """(0, ids of the examples [n <= rows, k]) of the batch at `position`; -1 after a row's last example."""
        number, rows = super().batch(position)
        keys = [
            key_of(self.seed, self.epoch if share.exact.denominator == 1 else -1, 3, corpus)
            for corpus, share in enumerate(self.shares)
        ]
        corpora = np.searchsorted(self.corpora, rows, side="right") - 1
        return number, self.packing.examples(rows, np.array(keys, np.uint64)[corpora])

    @property
    def examples(self) -> list[int]:
        """See `Plan.examples`."""
        return [self._sum(np.diff(self.packing.offsets)[:, None])[0]]

    def tokens(self, lengths: Lengths) -> dict[str, list[int]]:
        """See `Plan.tokens`."""
        return {name: [total] for name, total in zip(lengths, self._sum(self.packing.tokens), strict=True)}

    def _sum(self, values: Ints) -> list[int]:
        """[C] the sum over all rows of the epoch, of values [G, C] of the groups of rows."""
        counts = np.zeros(len(values), np.int64)
        for rows in self.items(0):
            counts += np.bincount(self.packing.groups(rows), minlength=len(values))
        total: list[int] = (counts @ values).tolist()
        return total


@dataclass(frozen=True, eq=False)
class PackedPlans(Plans):
    """The plan of every epoch over the same examples; the members of the only bucket are rows."""

    packing: Packing
    corpora: tuple[Share, ...]
    """The shares, counted in examples."""

    def epoch(self, number: int) -> PackedPlan:
        """See `Plans.epoch`."""
        plan = super().epoch(number)
        edges = *(share.start for share in self.shares), len(self.packing)
        return PackedPlan(plan.buckets, plan.parts, self.corpora, plan.seed, number, self.packing, edges)


def choose_row(lengths: Lengths, batching: config.Batching, multiple: int) -> Bucket:
    """The shape of all batches: `batching.pack` tokens for the column with the most tokens, and proportionally for the
    others, but each at least as long as its longest example.

    Args:
        lengths: of N > 0 examples.
        batching: the budget and the length of a row.
        multiple: divides the rows.
    """
    columns = list(lengths.values())
    totals = np.zeros(len(columns), np.int64)
    for block in blocks(*columns):
        totals += [int(column.sum()) for column in block]
    most = int(totals.max())
    row = tuple(
        round_up(max(-(-batching.pack * int(total) // most), int(column.max())), batching.length_multiple)
        for total, column in zip(totals, columns, strict=True)
    )
    needed = max(-(-int(total) // length) for total, length in zip(totals, row, strict=True))
    return Bucket(min(rows_of(batching.tokens, max(row), multiple), round_up(needed, multiple)), row)


def make_packed_plans(
    lengths: Lengths, buckets: Sequence[Bucket], seed: int, shares: Sequence[Share] = (Share(0, 1.0),)
) -> PackedPlans:
    """Pack the examples into rows of the only bucket. Raises ValueError if there are none, or one fits in no row."""
    (bucket,) = buckets
    count = len(next(iter(lengths.values())))
    if not count:
        raise ValueError("no examples")
    packing, rows = pack_examples(lengths, [*(share.start for share in shares), count], bucket.lengths)
    starts = np.cumsum([0, *rows]).tolist()
    by_row = [Share(start, share.passes) for start, share in zip(starts, shares, strict=False)]
    plans = in_order(buckets, (np.arange(len(packing), dtype=np.uint32),), seed, by_row, len(packing))
    return PackedPlans(**vars(plans), packing=packing, corpora=tuple(shares))
