"""A batch of the search: a fixed number of slots, each with a sentence, that are refilled while it runs."""

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Int

from transformer.decoding import shapes
from transformer.decoding.config import Decoding
from transformer.decoding.programs import Programs, empty_state, resized
from transformer.decoding.shapes import Shape
from transformer.distributed import sharding as parallel


class Request(NamedTuple):
    """A sentence to translate."""

    number: int
    source: Sequence[int]
    """Tokens, including the EOS token."""
    min_length: int
    max_length: int
    prefix: Sequence[int]
    seed: int


class Result(NamedTuple):
    """The translations of a request: N finished hypotheses, best first."""

    number: int
    tokens: Int[np.ndarray, "N T"]
    logp: np.ndarray
    scores: np.ndarray
    attention: np.ndarray | None


class Plan(NamedTuple):
    """The shapes of a search, which follow from its requests."""

    slots: int
    """Slots of a batch."""
    few: int
    """Slots of the small batch that the last sentences move to."""
    lengths: list[int]
    """Compiled source lengths, ascending."""
    prefix: int
    """Compiled length of prefixes; 0: none."""
    limit: int
    """Limit of the model, in tokens."""

    def shape(self, source: int) -> Shape:
        """The shape of a full batch with sources of a compiled length."""
        return shapes.make_shape(self.slots, source, self.prefix, self.limit)


class BatchSlots:
    """The batch of one thread: the request in each slot, and the arrays on the devices."""

    def __init__(
        self,
        programs: Programs,
        parameters: Any,
        settings: Decoding,
        plan: Plan,
        waiting: deque[tuple[int, Request]],
    ):
        """`waiting` are requests with their compiled source lengths, ascending; threads share it."""
        self._programs, self._parameters, self._settings = programs, parameters, settings
        self._plan, self._waiting = plan, waiting
        self._requests: list[Request | None] = [None] * plan.slots
        self._shape = plan.shape(plan.lengths[0])
        self._state = empty_state(*self._layout())

    def run(self) -> Iterator[Result]:
        """Translate until no request is waiting or unfinished."""
        while True:
            self._fill()
            if not any(self._requests):
                return
            yield from self._advance()

    def _fill(self) -> None:
        """Fill free slots with waiting requests, or move to the small batch when none is waiting."""
        while True:
            free = [slot for slot, request in enumerate(self._requests) if request is None]
            new = self._take() if len(free) >= self._refill else []
            if not new:
                break
            self._read(new, free)
        active = len(self._requests) - len(free)
        if active and not self._waiting and active <= self._plan.few < len(self._requests):
            order = sorted(range(len(self._requests)), key=lambda slot: self._requests[slot] is None)
            # At the longest length, regardless of the length that this thread had reached.
            longest = max(self._shape, self._plan.shape(self._plan.lengths[-1]))
            self._resize(order[: self._plan.few], longest._replace(slots=self._plan.few))

    @property
    def _refill(self) -> int:
        return self._programs.refill(len(self._requests))

    def _take(self) -> list[tuple[int, Request]]:
        new: list[tuple[int, Request]] = []
        while len(new) < self._refill:
            try:
                new.append(self._waiting.popleft())
            except IndexError:  # another thread may have taken the last request
                break
        return new

    def _read(self, new: list[tuple[int, Request]], free: list[int]) -> None:
        """Encode requests into free slots."""
        wanted = max(self._shape, self._plan.shape(max(source for source, _ in new))._replace(slots=self._shape.slots))
        if wanted != self._shape:
            self._resize(range(len(self._requests)), wanted)
        rows, shape = self._refill, self._shape
        tokens, prefix = np.zeros((rows, shape.source), np.int32), np.zeros((rows, shape.prefix), np.int32)
        min_length, max_length, seed = np.zeros((3, rows), np.int32)
        slots = np.full(rows, len(self._requests), np.int32)  # rows beyond the last slot are dropped
        for row, ((_, request), slot) in enumerate(zip(new, free, strict=False)):
            tokens[row, : len(request.source)], prefix[row, : len(request.prefix)] = request.source, request.prefix
            min_length[row], max_length[row] = request.min_length, request.max_length
            seed[row], slots[row] = request.seed, slot
            self._requests[slot] = request
        batch = parallel.put_batch(self._programs.mesh, (tokens, min_length, max_length, prefix, seed, slots))
        read = self._programs.read(self._parameters, self._settings, shape)
        self._state = read(self._parameters, self._state, *batch)

    def _advance(self) -> Iterator[Result]:
        """Search until enough slots are free for a refill, or a translation needs more room."""
        size = len(self._requests)
        few = self._plan.few if self._plan.few < size else 0
        target = np.int32(self._refill if self._waiting else size - few)
        advance = self._programs.advance(self._parameters, self._settings, self._shape)
        self._state, found = advance(self._parameters, self._state, target)
        snapshot = jax.tree.map(np.asarray, found)
        for slot, request in enumerate(self._requests):
            if request is not None and snapshot.done[slot]:
                self._requests[slot] = None
                yield _result(request, slot, snapshot)
        unfinished = [slot for slot, request in enumerate(self._requests) if request is not None]
        if any(snapshot.position[slot] >= self._shape.target for slot in unfinished):
            self._resize(range(size), shapes.longer(self._shape, self._plan.limit))

    def _resize(self, rows: Sequence[int], shape: Shape) -> None:
        """Keep these rows only, in arrays of a new shape."""
        self._requests, self._shape = [self._requests[row] for row in rows], shape
        self._state = resized(self._state, list(rows), *self._layout())

    def _layout(self) -> tuple[Any, Any]:
        """Shapes and shardings of the arrays."""
        arguments = self._parameters, self._settings, self._shape
        return self._programs.shapes(*arguments), self._programs.shardings(*arguments)


def _result(request: Request, slot: int, snapshot: Any) -> Result:
    """The finished hypotheses of a slot, from a `Snapshot` of NumPy arrays."""
    finished = snapshot.scores[slot] > -np.inf
    attention = None
    if snapshot.attention is not None:
        attention = snapshot.attention[slot][finished, :, : len(request.source)]
    return Result(
        request.number,
        snapshot.tokens[slot][finished],
        snapshot.logp[slot][finished],
        snapshot.scores[slot][finished],
        attention,
    )
