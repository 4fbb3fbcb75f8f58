"""The stream of training batches: epoch after epoch, prepared ahead by other threads, from any position on.

If examples are resampled (`--tokenizer.sampling`), every epoch has its own examples and plan, made during the previous
epoch. Samples depend only on (seed, epoch, example), so a run resumes from its position.
"""

import shutil
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count
from pathlib import Path
from threading import Event
from typing import Any, NamedTuple, Protocol, TypeAlias

import grain
import numpy as np
from numpy.typing import NDArray

from transformer.data import config
from transformer.data.batching.buckets import Bucket, Lengths, choose_buckets
from transformer.data.batching.packed import choose_row, make_packed_plans
from transformer.data.batching.plan import Plan, Plans, Share, make_plans
from transformer.data.cache import TemporaryFolder
from transformer.data.examples import Examples
from transformer.errors import TransformerError

Ints = NDArray[Any]


class DataPosition(NamedTuple):
    """The position in a stream of batches: all that resuming needs to know about the data."""

    epoch: int = 0
    batch: int = 0
    """Batches of the epoch before this position."""

    @property
    def next(self) -> "DataPosition":
        """The following position; past the end of its epoch it means the beginning of the next."""
        return DataPosition(self.epoch, self.batch + 1)


START = DataPosition()


class EpochSource(Protocol):
    """The examples and the plan of every epoch."""

    @property
    def buckets(self) -> tuple[Bucket, ...]:
        """Shapes of all batches of all epochs."""

    def epoch(self, number: int) -> tuple[Examples, Plan]:
        """The examples and plan of one epoch."""

    def prepare(self, number: int) -> None:
        """Start preparing the next epoch in the background."""

    def close(self) -> None:
        """Stop background work."""


def choose_shapes(lengths: Lengths, batching: config.Batching, multiple: int, widest: bool = False) -> list[Bucket]:
    """The shape of packed rows, or buckets; see `choose_row` and `choose_buckets`."""
    return (
        [choose_row(lengths, batching, multiple)]
        if batching.pack
        else choose_buckets(lengths, batching, multiple, widest)
    )


def plan_epochs(
    lengths: Lengths, batching: config.Batching, buckets: Sequence[Bucket], seed: int, shares: Sequence[Share]
) -> Plans:
    """Plans of rows of these shapes; see `make_packed_plans` and `make_plans`."""
    make = make_packed_plans if batching.pack else make_plans
    return make(lengths, buckets, seed, shares)


class FixedEpochs:
    """Every epoch has the same examples."""

    def __init__(self, examples: Examples, plans: Plans) -> None:
        self._examples, self._plans = examples, plans
        self.buckets = plans.buckets

    def epoch(self, number: int) -> tuple[Examples, Plan]:
        return self._examples, self._plans.epoch(number)

    def prepare(self, number: int) -> None:
        pass

    def close(self) -> None:
        pass


Sample: TypeAlias = Callable[[int, tuple[int, ...], Path, Event], Examples]
"""(epoch, longest of each column, a new folder, asked to stop) -> the examples of that epoch."""


class ResampledEpochs:
    """Every epoch's examples are resampled; the next epoch's while this one is read."""

    def __init__(
        self,
        plain: Examples,
        sample: Sample,
        seed: int,
        batching: config.Batching,
        multiple: int,
        shares: tuple[Share, ...],
        longest: int,
        cache: Path,
    ) -> None:
        """Samples the first epoch, whose lengths the shapes of batches are made for.

        Args:
            plain: the examples without sampling; the longest bucket also holds all of them.
            sample: makes the examples of an epoch.
            seed: of the order.
            batching: with `multiple` and `shares`, as in `choose_shapes` and `plan_epochs`.
            multiple: divides the rows.
            shares: of the corpora.
            longest: length of any column of an example.
            cache: holds the epochs while they are needed.

        Raises TransformerError if they cannot be written.
        """
        try:
            self._scratch = TemporaryFolder(cache / "drawn")
        except OSError as error:
            raise TransformerError(f"--data.cache={cache} cannot be written ({error.strerror or error})") from error
        self._stop, self._background = Event(), ThreadPoolExecutor(1, "sample")

        def make(epoch: int, limit: tuple[int, ...]) -> Examples:
            return sample(epoch, limit, self._scratch.path / str(epoch), self._stop)

        def planned(sampled: Examples, epoch: int) -> tuple[Examples, Plan]:
            return sampled, plan_epochs(sampled.lengths, batching, self.buckets, seed, shares).epoch(epoch)

        try:
            first = make(0, (longest,) * len(plain.lengths))
        except BaseException:
            self.close()
            raise
        widest = {name: np.maximum(column, first.lengths[name]) for name, column in plain.lengths.items()}
        self.buckets = tuple(choose_shapes(widest, batching, multiple, widest=True))
        # The samples of the first epoch under the looser limit are the same under this one: all of them fit.
        limit = self.buckets[-1].lengths
        self._make = lambda epoch: planned(make(epoch, limit), epoch)
        self._made: dict[int, Future[tuple[Examples, Plan]]] = {0: Future()}
        self._made[0].set_result(planned(first, 0))

    def epoch(self, number: int) -> tuple[Examples, Plan]:
        """Waits until it is finished. Raises TransformerError."""
        found = self._ask(number).result()
        for past in [epoch for epoch in self._made if epoch < number - 1]:  # the previous one may still be in use
            del self._made[past]
            shutil.rmtree(self._scratch.path / str(past), ignore_errors=True)
        return found

    def prepare(self, number: int) -> None:
        """Sample an epoch in the background."""
        self._ask(number)

    def _ask(self, number: int) -> "Future[tuple[Examples, Plan]]":
        if number not in self._made:
            self._made[number] = self._background.submit(self._make, number)
        return self._made[number]

    def close(self) -> None:
        """Removes the samples, which can be drawn again."""
        self._stop.set()
        self._background.shutdown(wait=True, cancel_futures=True)
        self._scratch.close()


MakeBatch: TypeAlias = Callable[[Examples, Bucket, Ints, int], Any]
"""(examples, shape, ids, epoch) -> a batch."""


class Planned(NamedTuple):
    """A batch of the stream."""

    position: DataPosition
    bucket: Bucket
    batch: Any


class _Epoch:
    """The data source of grain: item `index` is the batch `first + index` of an epoch."""

    def __init__(self, source: EpochSource, position: DataPosition, make: MakeBatch) -> None:
        self.examples, self.plan = source.epoch(position.epoch)
        self.number, self.first = position
        self.length = max(0, len(self.plan) - position.batch)
        self.make = make

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[Bucket, Any]:
        number, ids = self.plan.batch(self.first + index)
        bucket = self.plan.buckets[number]
        return bucket, self.make(self.examples, bucket, ids, self.number)


def stream(
    source: EpochSource, make: MakeBatch, start: DataPosition = START, prefetch: int = 8
) -> Generator[Planned, None, None]:
    """Batches from `start` on, without end; the position after the last batch that was used is the whole state.

    Args:
        source: of examples and plans.
        make: assembles a batch.
        start: the first batch.
        prefetch: batches prepared ahead by other threads; 0 makes each on demand.
    """
    options = grain.ReadOptions(num_threads=min(2, prefetch), prefetch_buffer_size=prefetch)
    for number in count(start.epoch):
        first = start.batch if number == start.epoch else 0
        epoch = _Epoch(source, DataPosition(number, first), make)
        source.prepare(number + 1)
        batches: Any = iter(grain.MapDataset.source(epoch).to_iter_dataset(options))
        try:
            for index, (bucket, batch) in enumerate(batches, first):
                yield Planned(DataPosition(number, index), bucket, batch)
        finally:
            batches.close()


def examples_at(source: EpochSource, position: DataPosition) -> Ints:
    """[n] ids of the examples of the batch at a position."""
    _, plan = source.epoch(position.epoch)
    ids = plan.batch(position.batch)[1]
    return ids[ids >= 0]
