"""Which examples make up batch number `index`, and the batches themselves.

Examples are sorted into a few buckets of one shape each. A plan is a pure function of (lengths, buckets,
seed): batch `index` (counted over all epochs) always holds the same examples, so a run resumes from one
integer. Only Philox's raw bits are drawn, whose stream numpy guarantees over versions.
"""

import threading
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import grain
import numpy as np
from numpy.typing import NDArray

from transformer import config
from transformer.data.examples import Examples, Links, Side
from transformer.marks import BEGIN, PAD

Ints = NDArray[Any]
ENDLESS = 1 << 60
"""Batches that a stream claims to have."""


class Bucket(NamedTuple):
    """The shape of a batch: every program that XLA compiles is one of these."""

    rows: int
    source_length: int
    """Tokens, end mark included."""
    target_length: int

    @classmethod
    def of(cls, batch: "Batch") -> "Bucket":
        """The shape of a batch."""
        rows, source_length = batch.source.shape
        return cls(rows, source_length, batch.target_in.shape[1])


class Batch(NamedTuple):
    """Padded token ids, int32; 0 pads, and a row of zeros has weight zero."""

    source: Any
    """[B, S], each sentence closed by the end mark."""
    target_in: Any
    """[B, T], begin mark and target."""
    target_out: Any
    """[B, T], target and end mark: what follows each position of `target_in`."""
    alignment: Any = None
    """[B, T, S] float32, or None where examples have no links: for each target token the share of each source token it
    is linked to; a row of zeros for a token without links."""


def choose_buckets(
    source_lengths: Ints, target_lengths: Ints, batching: config.Batching, multiple: int
) -> list[Bucket]:
    """At most `batching.shapes` buckets, the least padded ones (see `partition`), smallest first.

    source_lengths, target_lengths: [N] tokens, end marks included, N > 0. `multiple` divides the rows. A
    bucket has as many rows as the token budget allows, but no more than an equal share for each of its
    batches needs.
    """
    shapes = partition(source_lengths, target_lengths, batching.shapes, batching.length_multiple)
    counts = np.bincount(assign(source_lengths, target_lengths, shapes), minlength=len(shapes))
    buckets = []
    for (source, target), count in zip(shapes, counts.tolist(), strict=True):
        if count:
            most = _rows(batching.tokens, max(source, target), multiple)
            batches = -(-count // most)
            buckets.append(Bucket(_round_up(-(-count // batches), multiple), source, target))
    return buckets


def partition(
    source_lengths: Ints, target_lengths: Ints, shapes: int, length_multiple: int = 1
) -> list[tuple[int, int]]:
    """(source length, target length) of at most `shapes` groups of examples, in order of their longer side.

    Examples are ordered by their longer side and cut into runs; a run's lengths are the longest source and
    target in it, rounded up to `length_multiple`. The cuts minimise the total of padded tokens, exactly, by
    dynamic programming over the D distinct lengths: O(shapes D^2). Of equally good answers, one with the
    fewest runs.
    """
    longer = np.maximum(source_lengths, target_lengths)
    distinct, group = np.unique(longer, return_inverse=True)
    size = len(distinct)
    longest = np.zeros((2, size), np.int64)
    np.maximum.at(longest[0], group, source_lengths)
    np.maximum.at(longest[1], group, target_lengths)
    before = np.concatenate([[0], np.cumsum(np.bincount(group))])

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
    """[N] number of the smallest shape (by the sum of its sides) that holds each example; len(shapes) if none
    does."""
    numbers = np.full(len(source_lengths), len(shapes), np.int64)
    for number in sorted(range(len(shapes)), key=lambda n: -sum(shapes[n])):
        source, target = shapes[number]
        numbers[(source_lengths <= source) & (target_lengths <= target)] = number
    return numbers


def _rows(tokens: int, longest: int, multiple: int) -> int:
    return max(tokens // longest // multiple, 1) * multiple


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


@dataclass(frozen=True, eq=False)
class Plan:
    """The order of training: every example exactly once an epoch, batches of all buckets mixed."""

    buckets: tuple[Bucket, ...]
    members: tuple[Ints, ...]
    """[n_b] example ids of each bucket, ascending."""
    tokens: tuple[int, int]
    """Real source and target tokens of an epoch, end marks included."""
    seed: int
    _orders: dict[int, tuple[Ints, list[Ints]]] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def _batches(self) -> list[int]:
        """Batches an epoch in each bucket."""
        return [-(-len(ids) // bucket.rows) for bucket, ids in zip(self.buckets, self.members, strict=True)]

    @property
    def batches_per_epoch(self) -> int:
        """Batches of all buckets together."""
        return sum(self._batches)

    def batch(self, index: int) -> tuple[int, Ints]:
        """(number of the bucket, ids of the examples [n <= rows]) of batch `index` >= 0, counted over all
        epochs.

        Depends on `index` alone (and the plan's fields): any thread or process may ask for any batch in any
        order.
        """
        epoch, position = divmod(index, self.batches_per_epoch)
        batches, shuffled = self._order(epoch)
        number, nth = batches[position].tolist()
        rows = self.buckets[number].rows
        return number, shuffled[number][nth * rows : (nth + 1) * rows]

    def _order(self, epoch: int) -> tuple[Ints, list[Ints]]:
        """(bucket and place in it of every batch [batches, 2], ids of each bucket in this epoch's order)."""
        with self._lock:
            if epoch not in self._orders:
                random = np.random.Philox(key=np.array([self.seed % 2**64, epoch], np.uint64))
                shuffled = [ids[_shuffle(random, len(ids))] for ids in self.members]
                batches = np.array([(number, nth) for number, n in enumerate(self._batches) for nth in range(n)])
                while len(self._orders) > 1:  # this epoch and the one that prefetching still reads
                    del self._orders[next(iter(self._orders))]
                self._orders[epoch] = batches[_shuffle(random, len(batches))], shuffled
            return self._orders[epoch]

    def report(self) -> dict[str, float]:
        """Counts of one epoch: examples, batches, shapes, empty_rows (of weight zero), and the share of real
        tokens in source, target and both (`source_efficiency`, ...)."""
        padded = [
            sum(n * bucket.rows * bucket[side] for n, bucket in zip(self._batches, self.buckets, strict=True))
            for side in (1, 2)
        ]
        examples = sum(map(len, self.members))
        rows = sum(n * bucket.rows for n, bucket in zip(self._batches, self.buckets, strict=True))
        return {
            "examples": examples,
            "batches": self.batches_per_epoch,
            "shapes": len(self.buckets),
            "empty_rows": rows - examples,
            "source_efficiency": self.tokens[0] / padded[0],
            "target_efficiency": self.tokens[1] / padded[1],
            "efficiency": sum(self.tokens) / sum(padded),
        }

    def describe(self) -> str:
        """The report and the buckets, for a person: a line for all and a line for each bucket."""
        v = self.report()
        efficiency = [f"{v[name]:.1%}" for name in ("efficiency", "source_efficiency", "target_efficiency")]
        lines = [
            f"{v['examples']} examples in {v['batches']} batches of {v['shapes']} shapes "
            f"({v['empty_rows']} rows are empty)",
            "{} of the tokens are real (source {}, target {})".format(*efficiency),
        ]
        for bucket, ids, n in zip(self.buckets, self.members, self._batches, strict=True):
            shape = "{:5d} rows x {:3d} source, {:3d} target tokens".format(*bucket)
            lines.append(f"{shape}: {n} batches, {len(ids)} examples")
        return "\n".join(lines)


def make_plan(source_lengths: Ints, target_lengths: Ints, buckets: Sequence[Bucket], seed: int) -> Plan:
    """Sort the examples ([N] tokens each, N > 0) into `buckets`. Raises ValueError when one fits in none."""
    numbers = assign(source_lengths, target_lengths, [bucket[1:] for bucket in buckets])
    if len(numbers) == 0 or numbers.max() == len(buckets):
        raise ValueError("no examples" if len(numbers) == 0 else "an example fits in no bucket")
    members = tuple(np.flatnonzero(numbers == number) for number in range(len(buckets)))
    return Plan(tuple(buckets), members, (int(source_lengths.sum()), int(target_lengths.sum())), seed)


def _shuffle(random: np.random.Philox, size: int) -> Ints:
    """A uniform permutation of range(size)."""
    return np.argsort(random.random_raw(size), kind="stable")


def fixed(
    source_lengths: Ints,
    target_lengths: Ints,
    batching: config.Batching,
    buckets: Sequence[Bucket],
    multiple: int,
) -> list[tuple[Bucket, Ints]]:
    """Batches (shape, example ids [n <= rows]) that cover each example once, by length: for validation.

    The training `buckets` serve where they fit, so that nothing new is compiled; what is longer than all of
    them goes into one more shape.
    """
    everything = list(buckets)
    numbers = assign(source_lengths, target_lengths, [bucket[1:] for bucket in buckets])
    misfits = numbers == len(buckets)
    if misfits.any():
        source = _round_up(int(source_lengths[misfits].max()), batching.length_multiple)
        target = _round_up(int(target_lengths[misfits].max()), batching.length_multiple)
        most = _rows(batching.tokens, max(source, target), multiple)
        everything.append(Bucket(min(most, _round_up(int(misfits.sum()), multiple)), source, target))
    order = np.lexsort((source_lengths + target_lengths, np.maximum(source_lengths, target_lengths)))
    batches = []
    for number, bucket in enumerate(everything):
        ids = order[numbers[order] == number]
        batches += [(bucket, ids[start : start + bucket.rows]) for start in range(0, len(ids), bucket.rows)]
    return batches


def assemble(examples: Examples, bucket: Bucket, ids: Ints, own: Ints | None = None) -> Batch:
    """The batch of these examples ([n <= rows] ids); rows from n on are zeros. With `own` (ascending), these rows of it
    alone."""
    if own is not None:
        bucket, ids = bucket._replace(rows=len(own)), ids[own[own < len(ids)]]
    source, _ = _pad(examples.source, bucket.rows, bucket.source_length, ids)
    target_out, real = _pad(examples.target, bucket.rows, bucket.target_length, ids)
    target_in = np.zeros_like(target_out)
    target_in[: len(ids), 0] = BEGIN
    target_in[: len(ids), 1:] = target_out[: len(ids), :-1] * real[:, 1:]  # all but the end mark, one to the right
    return Batch(
        source, target_in, target_out, None if examples.links is None else _shares(examples.links, bucket, ids)
    )


def _shares(links: Links, bucket: Bucket, ids: Ints) -> Ints:
    shares = np.zeros((bucket.rows, bucket.target_length, bucket.source_length), np.float32)
    for row, number in enumerate(ids):
        source, target = links.pairs[links.offsets[number] : links.offsets[number + 1]].T
        shares[row, target, source] = 1.0
    return shares / np.maximum(shares.sum(-1, keepdims=True), 1.0)


def _pad(side: Side, rows: int, length: int, ids: Ints) -> tuple[Ints, NDArray[np.bool_]]:
    """(tokens [rows, length] int32, which of them are real [n, length])."""
    places = np.arange(length)
    real = places < side.lengths[ids][:, None]
    padded = np.full((rows, length), PAD, np.int32)
    flat = side.offsets[ids][:, None] + places
    padded[: len(ids)][real] = side.tokens[flat[real]]
    return padded, real


class _Stream:
    """What grain reads: batch `start + index` under `index`."""

    def __init__(self, examples: Examples, plan: Plan, start: int, own: Callable[[int], Ints] | None) -> None:
        self.examples, self.plan, self.start, self.own = examples, plan, start, own

    def __len__(self) -> int:
        return ENDLESS

    def __getitem__(self, index: int) -> tuple[int, Batch]:
        number, ids = self.plan.batch(self.start + index)
        bucket = self.plan.buckets[number]
        own = None if self.own is None else self.own(bucket.rows)
        return self.start + index, assemble(self.examples, bucket, ids, own)


def stream(
    examples: Examples, plan: Plan, start: int = 0, prefetch: int = 8, own: Callable[[int], Ints] | None = None
) -> Generator[tuple[int, Batch], None, None]:
    """(index, batch) from batch `start` on, without end; `start` is the whole state, so resuming is starting
    at the first index that was not used. `prefetch`: batches made ahead by other threads; 0 makes each when
    it is asked for. `own`: of a batch of so many rows those that are wanted, beyond them too; None is all.
    """
    dataset = grain.MapDataset.source(_Stream(examples, plan, start, own))
    options = grain.ReadOptions(num_threads=min(2, prefetch), prefetch_buffer_size=prefetch)
    batches = iter(dataset.to_iter_dataset(options))
    try:
        yield from batches
    finally:
        batches.close()
