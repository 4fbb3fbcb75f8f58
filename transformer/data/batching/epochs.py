"""The stream of training batches: epoch after epoch, made ahead by other threads, from any place on.

Where pieces are drawn by chance (`--tokenizer.sampling`) every epoch has examples and a plan of its own: it is drawn
while the one before is trained on. What is drawn hangs on (seed, epoch, example) alone, so a run resumes from its
place.
"""

import shutil
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count
from pathlib import Path
from threading import Event
from typing import Any, NamedTuple, Protocol

import grain
import numpy as np
from numpy.typing import NDArray

from transformer.data import config
from transformer.data import examples as made
from transformer.data.batching.batches import Batch, assemble
from transformer.data.batching.buckets import Bucket, choose_buckets
from transformer.data.batching.plan import Plan, Share, make_plan
from transformer.data.cache import TemporaryFolder
from transformer.data.corpora.corpus import Corpus
from transformer.data.examples import Examples
from transformer.data.tokenizers.tokenizer import Tokenizers
from transformer.errors import TransformerError

Ints = NDArray[Any]


class Place(NamedTuple):
    """Where a stream is: all that resuming needs to know of the data."""

    epoch: int = 0
    position: int = 0
    """Batches of the epoch before this one."""


BEGINNING = Place()


class Supply(Protocol):
    """The examples and the plan of every epoch."""

    @property
    def buckets(self) -> tuple[Bucket, ...]:
        """Shapes of all batches of all epochs."""

    def epoch(self, number: int) -> tuple[Examples, Plan]:
        """Of one epoch."""

    def ahead(self, number: int) -> None:
        """This epoch comes next."""

    def close(self) -> None:
        """End what is done in the background."""


class Same:
    """Every epoch has the same examples."""

    def __init__(self, examples: Examples, plan: Plan) -> None:
        self._examples, self._plan = examples, plan
        self.buckets = plan.buckets

    def epoch(self, number: int) -> tuple[Examples, Plan]:
        return self._examples, self._plan

    def ahead(self, number: int) -> None:
        pass

    def close(self) -> None:
        pass


class Redrawn:
    """Every epoch's pieces are drawn anew; the next epoch's while this one is read."""

    def __init__(
        self,
        plain: Examples,
        corpus: Corpus,
        tokenizers: Tokenizers,
        rate: float,
        seed: int,
        batching: config.Batching,
        multiple: int,
        shares: tuple[Share, ...],
        longest: int,
        cache: Path,
    ) -> None:
        """Draws the first epoch, whose lengths the shapes of batches are made for.

        Args:
            plain: the examples as they are without chance; with the longest bucket all of them still fit.
            corpus: what they were made from, with `tokenizers`.
            rate: see `subwords.sampler`.
            seed: of the draws and of the order.
            batching: with `multiple` and `shares`, as `choose_buckets` and `make_plan` have it.
            multiple: divides the rows.
            shares: of the corpora.
            longest: side of a pair, in tokens.
            cache: holds the epochs while they are needed.

        Raises TransformerError where they cannot be written.
        """
        try:
            self._scratch = TemporaryFolder(cache / "drawn")
        except OSError as error:
            raise TransformerError(f"--data.cache={cache} cannot be written ({error.strerror or error})") from error
        self._stop, self._background = Event(), ThreadPoolExecutor(1, "draw")

        def draw(epoch: int, limit: tuple[int, int]) -> Examples:
            folder = self._scratch.path / str(epoch)
            return made.draw(plain, corpus, tokenizers, rate, seed, epoch, limit, folder, self._stop)

        def planned(drawn: Examples) -> tuple[Examples, Plan]:
            return drawn, make_plan(drawn.source_lengths, drawn.target_lengths, self.buckets, seed, shares)

        try:
            first = draw(0, (longest, longest))
        except BaseException:
            self.close()
            raise
        sides = (plain.source_lengths, first.source_lengths), (plain.target_lengths, first.target_lengths)
        widest = [np.maximum(*side) for side in sides]
        self.buckets = tuple(choose_buckets(widest[0], widest[1], batching, multiple, widest=True))
        # What was drawn for the first epoch under the looser limit is what this one gives: all of it fits.
        limit = self.buckets[-1].source_length, self.buckets[-1].target_length
        self._draw = lambda epoch: planned(draw(epoch, limit))
        self._drawn: dict[int, Future[tuple[Examples, Plan]]] = {0: Future()}
        self._drawn[0].set_result(planned(first))

    def epoch(self, number: int) -> tuple[Examples, Plan]:
        """Waits where it has not been drawn yet. Raises TransformerError."""
        drawn = self._ask(number).result()
        for past in [epoch for epoch in self._drawn if epoch < number - 1]:  # the last one may still be asked about
            del self._drawn[past]
            shutil.rmtree(self._scratch.path / str(past), ignore_errors=True)
        return drawn

    def ahead(self, number: int) -> None:
        """Draw an epoch in the background."""
        self._ask(number)

    def _ask(self, number: int) -> "Future[tuple[Examples, Plan]]":
        if number not in self._drawn:
            self._drawn[number] = self._background.submit(self._draw, number)
        return self._drawn[number]

    def close(self) -> None:
        """What was drawn is removed: it can be drawn again."""
        self._stop.set()
        self._background.shutdown(wait=True, cancel_futures=True)
        self._scratch.close()


class _Epoch:
    """What grain reads: batch `first + index` of an epoch under `index`."""

    def __init__(self, supply: Supply, place: Place, own: Callable[[int], Ints] | None) -> None:
        self.examples, self.plan = supply.epoch(place.epoch)
        self.first = place.epoch * self.plan.batches_per_epoch + place.position
        self.length = self.plan.batches_per_epoch - place.position
        self.own = own

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Batch:
        number, ids = self.plan.batch(self.first + index)
        bucket = self.plan.buckets[number]
        return assemble(self.examples, bucket, ids, None if self.own is None else self.own(bucket.rows))


def stream(
    supply: Supply, start: Place = BEGINNING, prefetch: int = 8, own: Callable[[int], Ints] | None = None
) -> Generator[tuple[Place, Batch], None, None]:
    """(its place, batch) from `start` on, without end; the place after the last batch that was used is the whole state.

    `prefetch`: batches made ahead by other threads; 0 makes each when it is asked for. `own`: of a batch of so many
    rows those that are wanted, beyond them too; None is all.
    """
    options = grain.ReadOptions(num_threads=min(2, prefetch), prefetch_buffer_size=prefetch)
    for number in count(start.epoch):
        first = start.position if number == start.epoch else 0
        batches: Any = iter(grain.MapDataset.source(_Epoch(supply, Place(number, first), own)).to_iter_dataset(options))
        try:
            for position, batch in enumerate(batches, first):
                yield Place(number, position), batch
        finally:
            batches.close()


def after(place: Place) -> Place:
    """The next one; past the end of its epoch it stands for the beginning of the next."""
    return Place(place.epoch, place.position + 1)


def pairs_of(supply: Supply, place: Place) -> np.ndarray[Any, Any]:
    """Ids of the examples at a place."""
    _, plan = supply.epoch(place.epoch)
    return plan.batch(place.epoch * plan.batches_per_epoch + place.position)[1]
