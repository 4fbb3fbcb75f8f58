"""The order of training: which examples are in which batch of an epoch.

The plan of an epoch is a pure function of (lengths, buckets, seed, shares, epoch). Orders are computed position by
position (`shuffle`), so that the plans of all epochs need one number for each example.

An epoch takes `passes` of each corpus of a mixture, which is rarely a whole number of its n examples. Therefore a
corpus has one random order, read as a circle: epoch e takes its places from floor(e n passes) to
floor((e + 1) n passes) - 1, whichever buckets these examples are in. After E epochs each example of the corpus has
occurred floor(E passes) or ceil(E passes) times: the example at place r has occurred ceil((floor(E n passes) - r) / n)
= floor(E passes + (n - 1 - r) / n) times, and the last fraction is at least 0 and below 1.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from math import floor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transformer.data.batching.buckets import BLOCK, Bucket, Lengths, assign
from transformer.data.batching.shuffle import key_of, permute
from transformer.errors import UsageError
from transformer.plurals import counted

Ints = NDArray[Any]

DENOMINATOR = 10**8
"""Largest denominator of a number of passes as a fraction. It is exact for weights of a few digits, unlike a float."""


@dataclass(frozen=True)
class Share:
    """What an epoch takes from a corpus in a mixture."""

    start: int
    """First example of the corpus; it ends where the next one begins."""
    passes: float
    """How often an epoch reads it; 1 takes every example once, in any epoch."""

    @property
    def exact(self) -> Fraction:
        """The passes without the rounding of floating point."""
        return Fraction(self.passes).limit_denominator(DENOMINATOR)


@dataclass(frozen=True, eq=False)
class Part:
    """What an epoch takes from the examples of one corpus in one bucket: `count` of them, starting at `first`,
    cyclically."""

    members: Ints
    """[m] example ids."""
    first: int
    count: int

    def __getitem__(self, places: Ints) -> Ints:
        """[n] ids at [n] places below `count`."""
        return self.members[(self.first + places) % max(len(self.members), 1)]


@dataclass(frozen=True, eq=False)
class Plan:
    """The batches of an epoch: those of all buckets, mixed. The items of its parts are examples, or rows of several
    examples in a subclass, see `packed`."""

    buckets: tuple[Bucket, ...]
    parts: tuple[tuple[Part, ...], ...]
    """For each bucket, corpus by corpus."""
    shares: tuple[Share, ...]
    """Shares of the corpora."""
    seed: int
    epoch: int

    @property
    def taken(self) -> list[int]:
        """Items in each bucket, each of which fills a row."""
        return [sum(part.count for part in parts) for parts in self.parts]

    @property
    def examples(self) -> list[int]:
        """Examples in each bucket."""
        return self.taken

    @property
    def batches(self) -> list[int]:
        """Batches of each bucket."""
        return [-(-count // bucket.rows) for bucket, count in zip(self.buckets, self.taken, strict=True)]

    def __len__(self) -> int:
        """Batches of all buckets together, at least 1."""
        return sum(self.batches)

    def batch(self, position: int) -> tuple[int, Ints]:
        """(number of the bucket, ids of the examples [n <= rows]) of the batch at `position`.

        Depends on `position` alone (and the plan's fields): any thread or process may ask for any batch in any order.
        """
        # Which batch of which bucket is at this position ...
        ends = np.cumsum(self.batches)
        place = int(permute(np.array([position]), int(ends[-1]), key_of(self.seed, self.epoch, 0))[0])
        number = int(np.searchsorted(ends, place, side="right"))
        nth = place - int(ends[number]) + self.batches[number]
        # ... and which examples: places in the bucket, corpus by corpus, each in an order of this epoch.
        rows, parts, count = self.buckets[number].rows, self.parts[number], self.taken[number]
        places = np.arange(nth * rows, min((nth + 1) * rows, count))
        if len(parts) > 1:
            places = permute(places, count, key_of(self.seed, self.epoch, 1, number))
        ids = np.empty(len(places), np.int64)
        first = 0
        for corpus, part in enumerate(parts):
            mine = (places >= first) & (places < first + part.count)
            key = key_of(self.seed, self.epoch, 2, number, corpus)
            ids[mine] = part[permute(places[mine] - first, part.count, key)]
            first += part.count
        return number, ids

    def items(self, bucket: int) -> Iterator[Ints]:
        """Ids of all items in a bucket, in no particular order, block by block."""
        for part in self.parts[bucket]:
            for start in range(0, part.count, BLOCK):
                yield part[np.arange(start, min(start + BLOCK, part.count))]

    def tokens(self, lengths: Lengths) -> dict[str, list[int]]:
        """Real tokens in each bucket, end tokens included, of each ragged column by its name."""
        return {
            name: [
                sum(int(column[ids].sum(dtype=np.int64)) for ids in self.items(bucket))
                for bucket in range(len(self.buckets))
            ]
            for name, column in lengths.items()
        }

    def report(self, lengths: Lengths) -> dict[str, float]:
        """Counts of the epoch: examples, batches, shapes, empty_rows (of weight zero), and the share of real tokens in
        each column and overall (`source_efficiency`, ..., `efficiency`); `lengths` are those of the examples."""
        padded = [
            sum(n * bucket.rows * bucket.lengths[column] for n, bucket in zip(self.batches, self.buckets, strict=True))
            for column in range(len(lengths))
        ]
        real = {name: sum(tokens) for name, tokens in self.tokens(lengths).items()}
        rows = sum(n * bucket.rows for n, bucket in zip(self.batches, self.buckets, strict=True))
        return {
            "examples": sum(self.examples),
            "batches": len(self),
            "shapes": len(self.buckets),
            "empty_rows": rows - sum(self.taken),
            **{f"{name}_efficiency": tokens / size for (name, tokens), size in zip(real.items(), padded, strict=True)},
            "efficiency": sum(real.values()) / sum(padded),
        }

    def describe(self, lengths: Lengths) -> str:
        """The report and the buckets as text: a line for all and a line for each bucket."""
        v = self.report(lengths)
        each = ", ".join(f"{name} {v[f'{name}_efficiency']:.1%}" for name in lengths)
        nouns = {"examples": "example", "batches": "batch", "shapes": "shape", "empty_rows": "empty row"}
        counts = {name: counted(int(v[name]), noun) for name, noun in nouns.items()}
        lines = [
            "{examples} in {batches} of {shapes} ({empty_rows})".format(**counts),
            f"{v['efficiency']:.1%} of the tokens are real ({each})",
        ]
        for bucket, count, n in zip(self.buckets, self.examples, self.batches, strict=True):
            shape = ", ".join(f"{length:3d} {name}" for length, name in zip(bucket.lengths, lengths, strict=True))
            lines.append(f"{bucket.rows:5d} rows x {shape} tokens: {counted(n, 'batch')}, {counted(count, 'example')}")
        return "\n".join(lines)


@dataclass(frozen=True, eq=False)
class Plans:
    """The plan of every epoch over the same examples.

    A single corpus contributes every example once per epoch. With a mixture, an epoch has as many examples as all
    corpora together, and takes from each corpus its share.
    """

    buckets: tuple[Bucket, ...]
    members: tuple[Ints, ...]
    """[n_b] uint32 example ids of each bucket, corpus by corpus: ascending, or in the corpus's order if epochs take
    only parts of it."""
    shares: tuple[Share, ...]
    sizes: tuple[int, ...]
    """Examples of each corpus."""
    seed: int

    def epoch(self, number: int) -> Plan:
        """The plan of an epoch >= 0."""
        bounds = [
            tuple(floor(epoch * size * share.exact) for epoch in (number, number + 1))
            for share, size in zip(self.shares, self.sizes, strict=True)
        ]
        parts = []
        for members in self.members:
            row = []
            for corpus, places in enumerate(bounds):
                start = self.shares[corpus].start
                cell = _within(members, start, start + self.sizes[corpus])
                first, end = (self._before(place, cell, corpus) for place in places)
                row.append(Part(cell, first % max(len(cell), 1), end - first))
            parts.append(tuple(row))
        return Plan(self.buckets, tuple(parts), self.shares, self.seed, number)

    def _before(self, place: int, cell: Ints, corpus: int) -> int:
        """How many examples of a cell precede a place in its corpus's endless order."""
        if not len(cell):
            return 0
        size, start, key = self.sizes[corpus], self.shares[corpus].start, _order_key(self.seed, corpus)
        rounds, within = divmod(place, size)
        if within:
            within = bisect_left(cell, within, key=lambda id_: int(permute(np.array([int(id_) - start]), size, key)[0]))
        return rounds * len(cell) + within


def _order_key(seed: int, corpus: int) -> int:
    """Key of a corpus's order; -1 is no epoch."""
    return key_of(seed, -1, corpus)


def make_plans(
    lengths: Lengths,
    buckets: Sequence[Bucket],
    seed: int,
    shares: Sequence[Share] = (Share(0, 1.0),),
) -> Plans:
    """Sort the examples into `buckets`. Raises ValueError if there are none, or one fits in no bucket."""
    columns = list(lengths.values())
    shapes = [bucket.lengths for bucket in buckets]
    found: list[list[Ints]] = [[] for _ in buckets]
    for start in range(0, len(columns[0]), BLOCK):
        block = slice(start, start + BLOCK)
        numbers = assign([column[block] for column in columns], shapes)
        if numbers.max() == len(buckets):
            raise ValueError("an example fits in no bucket")
        for number, chosen in enumerate(found):
            chosen.append((start + np.flatnonzero(numbers == number)).astype(np.uint32))
    if not len(columns[0]):
        raise ValueError("no examples")
    return in_order(buckets, tuple(np.concatenate(ids) for ids in found), seed, shares, len(columns[0]))


def in_order(
    buckets: Sequence[Bucket], members: tuple[Ints, ...], seed: int, shares: Sequence[Share], count: int
) -> Plans:
    """Plans of the `members` of each bucket, ascending ids below `count`; those of a corpus that epochs take parts of
    are put in its order, in place."""
    edges = [*(share.start for share in shares), count]
    for corpus, ((start, stop), share) in enumerate(zip(pairwise(edges), shares, strict=True)):
        if share.exact.denominator > 1:
            for ids in members:
                _put_in_order(_within(ids, start, stop), start, stop, _order_key(seed, corpus))
    sizes = tuple(stop - start for start, stop in pairwise(edges))
    return Plans(tuple(buckets), members, tuple(shares), sizes, seed)


def _within(ids: Ints, start: int, stop: int) -> Ints:
    """The part of a bucket's members that is from the corpus start, ..., stop - 1."""
    first, last = np.searchsorted(ids, np.array([start, stop], np.uint32))
    return ids[first:last]


def _put_in_order(ids: Ints, start: int, stop: int, key: int) -> None:
    """Sort ids of the corpus start, ..., stop - 1 by their places in its order, in place."""
    places = np.empty(len(ids), np.uint64)
    for first in range(0, len(ids), BLOCK):
        block = slice(first, first + BLOCK)
        places[block] = permute(ids[block].astype(np.int64) - start, stop - start, key)
    places <<= np.uint64(32)
    places |= ids
    places.sort()
    ids[:] = places & np.uint64(2**32 - 1)


def shares_of(parts: Sequence[int], weights: Sequence[float], temperature: float) -> tuple[Share, ...]:
    """What an epoch takes from corpora that follow one another, with `parts` examples each.

    `weights` are their shares, in any unit; without weights, a corpus of n has the share n ** (1 / temperature).
    Temperature sampling: Arivazhagan et al. 2019, section 4.2. A corpus without examples takes no part.
    Raises UsageError if none takes part.
    """
    wanted = [float(n > 0) * (weights[i] if weights else n ** (1 / temperature)) for i, n in enumerate(parts)]
    if not sum(wanted):
        raise UsageError("--data.weights leave nothing: the corpora that they select have no pairs left to train on")
    total, starts = sum(parts), np.concatenate([[0], np.cumsum(parts)])
    even = not weights and temperature == 1
    return tuple(
        Share(int(start), 1.0 if even or not n else total * weight / sum(wanted) / n)
        for start, n, weight in zip(starts[:-1], parts, wanted, strict=True)
    )
