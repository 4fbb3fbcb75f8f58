"""The order of training: which examples make up batch number `index`.

A plan is a pure function of (lengths, buckets, seed): batch `index`, counted over all epochs, always holds the same
examples. Orders are computed position by position (`shuffle`), so that a plan holds only one number for each example.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transformer.data.batching.buckets import BLOCK, Bucket, Lengths, assign
from transformer.data.batching.shuffle import key_of, permute
from transformer.errors import UsageError
from transformer.plurals import counted

Ints = NDArray[Any]


@dataclass(frozen=True)
class Share:
    """What an epoch takes of a corpus in a mixture."""

    start: int
    """First example of the corpus; it ends where the next one begins."""
    passes: float
    """How often an epoch reads it; 1 takes every example once, in any epoch."""


@dataclass(frozen=True, eq=False)
class Plan:
    """Batches of all buckets, mixed. Of one corpus every example comes exactly once an epoch.

    Of a mixture an epoch takes as many examples as all corpora have together, of each corpus its share, spread over the
    buckets as the corpus is. Each corpus is read in permutations of its own, one after the other over the
    epochs, so that all of its examples have come equally often, give or take one.
    """

    buckets: tuple[Bucket, ...]
    members: tuple[Ints, ...]
    """[n_b] example ids of each bucket, ascending."""
    tokens: dict[str, int]
    """Real tokens of an epoch, end tokens included, of each ragged column by its name."""
    seed: int
    shares: tuple[Share, ...] = (Share(0, 1.0),)
    _runs: tuple[tuple["_Run", ...], ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        starts = [share.start for share in self.shares[1:]]
        runs = []
        for ids in self.members:
            edges = [0, *np.searchsorted(ids, np.array(starts, np.int64)).tolist(), len(ids)]
            runs.append(tuple(
                _Run(first, last - first, -int(-(last - first) * share.passes // 1))
                for first, last, share in zip(edges[:-1], edges[1:], self.shares, strict=True)
            ))  # fmt: skip
        object.__setattr__(self, "_runs", tuple(runs))

    @property
    def taken(self) -> list[int]:
        """Examples an epoch in each bucket."""
        return [sum(run.taken for run in runs) for runs in self._runs]

    @property
    def _batches(self) -> list[int]:
        """Batches an epoch in each bucket."""
        return [-(-count // bucket.rows) for bucket, count in zip(self.buckets, self.taken, strict=True)]

    @property
    def batches_per_epoch(self) -> int:
        """Batches of all buckets together."""
        return sum(self._batches)

    def batch(self, index: int) -> tuple[int, Ints]:
        """(number of the bucket, ids of the examples [n <= rows]) of batch `index` >= 0, counted over all epochs.

        Depends on `index` alone (and the plan's fields): any thread or process may ask for any batch in any order.
        """
        epoch, position = divmod(index, self.batches_per_epoch)
        # Which batch of which bucket is at this position of the epoch ...
        ends = np.cumsum(self._batches)
        place = int(permute(np.array([position]), int(ends[-1]), key_of(self.seed, epoch, 0))[0])
        number = int(np.searchsorted(ends, place, side="right"))
        nth = place - int(ends[number]) + self._batches[number]
        # ... and which examples: places in the bucket's epoch, corpus by corpus, and these in the corpora's own orders.
        rows, runs, count = self.buckets[number].rows, self._runs[number], self.taken[number]
        places = np.arange(nth * rows, min((nth + 1) * rows, count))
        if len(runs) > 1:
            places = permute(places, count, key_of(self.seed, epoch, 1, number))
        ids = np.empty(len(places), np.int64)
        first = 0
        for part, run in enumerate(runs):
            mine = (places >= first) & (places < first + run.taken)
            series = epoch * run.taken + places[mine] - first
            ids[mine] = self._in_order(number, part, run, series)
            first += run.taken
        return number, ids

    def _in_order(self, number: int, part: int, run: "_Run", series: Ints) -> Ints:
        """Examples of a bucket from one corpus, by their places in the endless series of its permutations."""
        members, ids = self.members[number], np.empty(len(series), np.int64)
        passes = series // max(run.size, 1)
        for which in np.unique(passes).tolist():
            mine = passes == which
            order = permute(series[mine] - which * run.size, run.size, key_of(self.seed, which, 2, number, part))
            ids[mine] = members[run.start + order]
        return ids

    def report(self) -> dict[str, float]:
        """Counts of one epoch: examples, batches, shapes, empty_rows (of weight zero), and the share of real
        tokens in each column and in all (`source_efficiency`, ..., `efficiency`)."""
        padded = [
            sum(n * bucket.rows * bucket.lengths[column] for n, bucket in zip(self._batches, self.buckets, strict=True))
            for column in range(len(self.tokens))
        ]
        examples = sum(self.taken)
        rows = sum(n * bucket.rows for n, bucket in zip(self._batches, self.buckets, strict=True))
        return {
            "examples": examples,
            "batches": self.batches_per_epoch,
            "shapes": len(self.buckets),
            "empty_rows": rows - examples,
            **{
                f"{name}_efficiency": tokens / size
                for (name, tokens), size in zip(self.tokens.items(), padded, strict=True)
            },
            "efficiency": sum(self.tokens.values()) / sum(padded),
        }

    def describe(self) -> str:
        """The report and the buckets, for a person: a line for all and a line for each bucket."""
        v = self.report()
        each = ", ".join(f"{name} {v[f'{name}_efficiency']:.1%}" for name in self.tokens)
        nouns = {"examples": "example", "batches": "batch", "shapes": "shape", "empty_rows": "empty row"}
        counts = {name: counted(int(v[name]), noun) for name, noun in nouns.items()}
        lines = [
            "{examples} in {batches} of {shapes} ({empty_rows})".format(**counts),
            f"{v['efficiency']:.1%} of the tokens are real ({each})",
        ]
        for bucket, count, n in zip(self.buckets, self.taken, self._batches, strict=True):
            shape = ", ".join(f"{length:3d} {name}" for length, name in zip(bucket.lengths, self.tokens, strict=True))
            lines.append(f"{bucket.rows:5d} rows x {shape} tokens: {counted(n, 'batch')}, {counted(count, 'example')}")
        return "\n".join(lines)


@dataclass(frozen=True)
class _Run:
    """The examples of one bucket that come from one corpus."""

    start: int
    """Its first place among the bucket's members."""
    size: int
    taken: int
    """Of them an epoch takes so many."""


def make_plan(
    lengths: Lengths,
    buckets: Sequence[Bucket],
    seed: int,
    shares: Sequence[Share] = (Share(0, 1.0),),
) -> Plan:
    """Sort the examples into `buckets`. Raises ValueError when there are none, or one fits in no bucket."""
    columns = list(lengths.values())
    shapes = [bucket.lengths for bucket in buckets]
    found: list[list[Ints]] = [[] for _ in buckets]
    for start in range(0, len(columns[0]), BLOCK):
        block = slice(start, start + BLOCK)
        numbers = assign([column[block] for column in columns], shapes)
        if numbers.max() == len(buckets):
            raise ValueError("an example fits in no bucket")
        for number, ids in enumerate(found):
            ids.append((start + np.flatnonzero(numbers == number)).astype(np.uint32))
    if not len(columns[0]):
        raise ValueError("no examples")
    members = tuple(np.concatenate(ids) for ids in found)
    edges = pairwise([*(share.start for share in shares), len(columns[0])])
    parts = [(slice(*edge), share.passes) for edge, share in zip(edges, shares, strict=True)]
    tokens = {
        name: sum(round(float(column[part].sum(dtype=np.int64)) * passes) for part, passes in parts)
        for name, column in lengths.items()
    }
    return Plan(tuple(buckets), members, tokens, seed, tuple(shares))


def shares_of(parts: Sequence[int], weights: Sequence[float], temperature: float) -> tuple[Share, ...]:
    """What an epoch takes of corpora that follow one another, with `parts` examples each.

    `weights` are their shares, in any unit; where there are none, a corpus of n has the share n ** (1 / temperature).
    Temperature sampling: Arivazhagan et al. 2019, section 4.2. A corpus without examples takes no part.
    Raises UsageError when none does.
    """
    wanted = [float(n > 0) * (weights[i] if weights else n ** (1 / temperature)) for i, n in enumerate(parts)]
    if not sum(wanted):
        raise UsageError("--data.weights leave nothing: the corpora that they name have no pairs left to train on")
    total, starts = sum(parts), np.concatenate([[0], np.cumsum(parts)])
    even = not weights and temperature == 1
    return tuple(
        Share(int(start), 1.0 if even or not n else total * weight / sum(wanted) / n)
        for start, n, weight in zip(starts[:-1], parts, wanted, strict=True)
    )
