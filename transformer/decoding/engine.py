"""Searches over many sentences in batches that are refilled while they run.

A batch has a fixed number of slots. When enough of its sentences are done, waiting sentences, which are sorted by
length, take their slots, so that few rows are computed in vain. The arrays of a batch grow along a ladder of lengths
when longer sources arrive or translations need more capacity; when nothing is waiting, the batch shrinks to its
unfinished sentences. The number of shapes is therefore small, and each is compiled once.
"""

import dataclasses
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from queue import SimpleQueue
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int

from transformer.decoding import memory, search
from transformer.decoding.config import Decoding
from transformer.decoding.limits import Limits
from transformer.decoding.search import State
from transformer.distributed import sharding as parallel
from transformer.models.interface import Model

log = logging.getLogger(__name__)

LENGTHS = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
"""Lengths that are compiled."""
MIN_SLOTS = 16
"""Slots of the smallest batch."""
REFILL_DIVISOR, MIN_REFILL = 4, 4
"""New sentences are encoded when a quarter of the slots is free, but not fewer than four sentences at once."""


def padded_length(longest: int, limit: int) -> int:
    """The compiled length to which a batch is padded."""
    return min(next((length for length in LENGTHS if length >= longest), limit), limit)


def initial_length(source: int, limit: int) -> int:
    """Initial target capacity, in tokens, of a batch with sources of this length; it grows if a translation needs
    more."""
    return min(source + source // 4 + 4, limit)


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


class Engine:
    """Searches with models that `build` makes from parameters; every call passes the parameters."""

    def __init__(self, build: Callable[[Any], Model], mesh: Mesh, max_length: int, rules: parallel.Rules = ()):
        """`rules` are those of the model family, see `ModelConfig.cache_sharding`."""
        self.build, self.mesh, self.max_length, self.rules = build, mesh, max_length, rules
        self._made: dict[Any, Any] = {}
        self._locks: dict[Any, threading.Lock] = {}
        self._lock = threading.Lock()
        self.compiled = 0
        """Programs compiled so far."""
        self.seconds = 0.0
        """Compilation time, summed over threads."""

    def run(self, parameters: Any, requests: Sequence[Request], settings: Decoding) -> Iterator[Result]:
        """Translate all requests; results are yielded as they finish, short sources first."""
        waiting = deque(sorted(requests, key=lambda request: len(request.source)))
        workers = settings.workers or (2 if jax.default_backend() == "cpu" and (os.cpu_count() or 1) > 1 else 1)
        workers = max(1, min(workers, len(requests) // MIN_SLOTS))
        prefix = max((len(request.prefix) for request in requests), default=0)
        prefix = padded_length(prefix, self.max_length) if prefix else 0
        if workers == 1:
            yield from BatchSlots(self, parameters, waiting, settings, prefix).run()
            return
        results: SimpleQueue[Result | None] = SimpleQueue()

        def work() -> None:
            try:
                for result in BatchSlots(self, parameters, waiting, settings, prefix).run():
                    results.put(result)
            finally:
                results.put(None)

        with ThreadPoolExecutor(workers) as pool:
            tasks = [pool.submit(work) for _ in range(workers)]
            try:
                while workers:
                    result = results.get()
                    if result is None:
                        workers -= 1
                    else:
                        yield result
            finally:
                waiting.clear()
            for task in tasks:
                task.result()

    def program(
        self, name: Any, function: Callable[..., Any], *inputs: Any, donate: tuple[int, ...], shardings: Any
    ) -> Any:
        """The function compiled for inputs of these shapes, with outputs of these shardings."""

        def compiled() -> Any:
            start = time.perf_counter()
            program = jax.jit(function, donate_argnums=donate, out_shardings=shardings).lower(*inputs).compile()
            with self._lock:
                self.compiled += 1
                self.seconds += time.perf_counter() - start
            return program

        return self.once((name, tuple(leaf.shape for leaf in jax.tree.leaves(inputs))), compiled)

    def once(self, key: Any, make: Callable[[], Any]) -> Any:
        """The value for a key, made by the first thread that asks for it; threads with other keys do not wait."""
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            if key not in self._made:
                self._made[key] = make()
        return self._made[key]


class Snapshot(NamedTuple):
    """The part of a batch's state that the host reads."""

    done: Bool[Array, "B"]
    position: Int[Array, "B"]
    tokens: Int[Array, "B N T"]
    logp: Float[Array, "B N"]
    scores: Float[Array, "B N"]
    attention: Float[Array, "B N T S"] | None


class BatchSlots:
    """The batch of one thread: the request in each slot, and the arrays on the devices."""

    def __init__(self, engine: Engine, parameters: Any, waiting: deque[Request], settings: Decoding, prefix: int):
        self._engine, self._parameters, self._waiting = engine, parameters, waiting
        self._settings = _compiled_settings(settings)
        self._rows = parallel.row_sharding(engine.mesh)
        self._prefix, self._sizes = prefix, _sizes(settings.batch, parallel.row_shards(engine.mesh))
        self._requests: list[Request | None] = [None] * next(
            (size for size in self._sizes if size >= len(waiting)), self._sizes[-1]
        )
        self._source = padded_length(1, engine.max_length)
        self._target = initial_length(self._source, engine.max_length)
        self._state = jax.tree.map(
            lambda leaf, sharding: jax.device_put(np.zeros(leaf.shape, leaf.dtype), sharding),
            self._shapes(),
            self._shardings(),
        )
        # An empty slot counts as done.
        done = jax.device_put(np.ones(len(self._requests), bool), self._rows)
        self._state = self._state._replace(hypotheses=self._state.hypotheses._replace(done=done))

    def run(self) -> Iterator[Result]:
        """Translate until no request is waiting or unfinished."""
        while True:
            self._fill()
            if not any(self._requests):
                return
            yield from self._advance()

    @property
    def _refill(self) -> int:
        """Sentences encoded at once."""
        slots, devices = len(self._requests), parallel.row_shards(self._engine.mesh)
        return min(slots, _round_up(max(MIN_REFILL, slots // REFILL_DIVISOR), devices))

    def _fill(self) -> None:
        """Fill free slots with waiting requests, or drop free slots when none is waiting."""
        while True:
            free = [slot for slot, request in enumerate(self._requests) if request is None]
            new = self._take() if len(free) >= self._refill else []
            if not new:
                break
            self._read(new, free)
        active = len(self._requests) - len(free)
        size = next(size for size in self._sizes if size >= active)
        if active and not self._waiting and size < len(self._requests):
            order = sorted(range(len(self._requests)), key=lambda slot: self._requests[slot] is None)[:size]
            self._resize(order, self._source, self._target)

    def _take(self) -> list[Request]:
        new: list[Request] = []
        while len(new) < self._refill:
            try:
                new.append(self._waiting.popleft())
            except IndexError:  # another thread may have taken the last request
                break
        return new

    def _read(self, new: list[Request], free: list[int]) -> None:
        """Encode requests into free slots."""
        limit, rows = self._engine.max_length, self._refill
        source = max(self._source, padded_length(max(len(request.source) for request in new), limit))
        target = max(self._target, initial_length(source, limit))
        if (source, target) != (self._source, self._target):
            self._resize(range(len(self._requests)), source, target)
        tokens, prefix = np.zeros((rows, source), np.int32), np.zeros((rows, self._prefix), np.int32)
        min_length, max_length, seed = np.zeros((3, rows), np.int32)
        slots = np.full(rows, len(self._requests), np.int32)  # rows beyond the last slot are dropped
        for row, (request, slot) in enumerate(zip(new, free, strict=False)):
            tokens[row, : len(request.source)], prefix[row, : len(request.prefix)] = request.source, request.prefix
            min_length[row], max_length[row] = request.min_length, request.max_length
            seed[row], slots[row] = request.seed, slot
            self._requests[slot] = request
        batch = parallel.put_batch(self._engine.mesh, (tokens, min_length, max_length, prefix, seed, slots))

        def read(parameters: Any, state: State, tokens: Array, *rest: Array) -> State:
            *limits, seed, slots = rest
            model = self._engine.build(parameters)
            fresh = search.init_state(model, tokens, Limits(*limits), seed, target, self._settings)
            return jax.tree.map(lambda old, new: old.at[slots].set(new, mode="drop"), state, fresh)

        inputs = self._parameters, self._state, *batch
        name = "read", self._settings
        self._state = self._engine.program(name, read, *inputs, donate=(1,), shardings=self._shardings())(*inputs)

    def _advance(self) -> Iterator[Result]:
        """Search until enough slots are free for a refill, or a translation exceeds the target capacity."""
        size, count = len(self._requests), self._settings.num_returned
        smaller = max((s for s in self._sizes if s < size), default=0)
        target = np.int32(self._refill if self._waiting else size - smaller)

        def advance(parameters: Any, state: State, target: Array) -> tuple[State, Snapshot]:
            state = search.advance(self._engine.build(parameters), state, target, self._settings)
            current = state.hypotheses
            tokens, logp, scores, attention = jax.tree.map(lambda leaf: leaf[:, :count], current.finished)
            return state, Snapshot(current.done, current.position, tokens, logp, scores, attention)

        inputs = self._parameters, self._state, target
        name, shardings = ("advance", self._settings), (self._shardings(), self._rows)
        program = self._engine.program(name, advance, *inputs, donate=(1,), shardings=shardings)
        self._state, snapshot = program(*inputs)
        snapshot = jax.tree.map(np.asarray, snapshot)
        for slot, request in enumerate(self._requests):
            if request is not None and snapshot.done[slot]:
                self._requests[slot] = None
                yield _result(request, slot, snapshot)
        unfinished = [slot for slot, request in enumerate(self._requests) if request is not None]
        if any(snapshot.position[slot] >= self._target for slot in unfinished):
            self._resize(range(size), self._source, padded_length(self._target + 1, self._engine.max_length))

    def _resize(self, rows: Sequence[int], source: int, target: int) -> None:
        """Keep these rows only, and pad every axis to the new lengths with zeros."""
        self._requests, self._source, self._target = [self._requests[row] for row in rows], source, target
        shapes = self._shapes()

        def resize(state: State, rows: Array) -> State:
            def pad(leaf: Array, shape: Any) -> Array:
                leaf = leaf[rows]
                return jnp.pad(leaf, [(0, new - old) for old, new in zip(leaf.shape, shape.shape, strict=True)])

            return jax.tree.map(pad, state, shapes)

        inputs = self._state, np.array(rows, np.int32)
        name = "resize", self._settings, len(rows), source, target
        self._state = self._engine.program(name, resize, *inputs, donate=(), shardings=self._shardings())(*inputs)

    def _shardings(self) -> Any:
        """The sharding of every array of a state of this size."""
        shapes = self._shapes()
        make = partial(parallel.cache_shardings_for, self._engine.mesh, shapes, self._engine.rules)
        return self._engine.once(("shardings", self._size), make)

    def _shapes(self) -> Any:
        """The shape of every array of a state of this size."""
        rows = len(self._requests)

        def init(parameters: Any) -> State:
            zeros, row = partial(jnp.zeros, dtype=jnp.int32), jnp.zeros(rows, jnp.int32)
            limits = Limits(row, row, zeros((rows, self._prefix)))
            model = self._engine.build(parameters)
            return search.init_state(model, zeros((rows, self._source)), limits, row, self._target, self._settings)

        def shapes() -> Any:
            found = jax.eval_shape(init, self._parameters)
            memory.require(found, self._engine.mesh, rows, self._settings.num_hypotheses)
            return found

        return self._engine.once(("shapes", self._size), shapes)

    @property
    def _size(self) -> Any:
        """Everything on which the shapes of a state depend."""
        return self._settings, len(self._requests), self._source, self._target, self._prefix


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


def _compiled_settings(settings: Decoding) -> Decoding:
    """The settings without those on which no program depends."""
    return dataclasses.replace(
        settings,
        batch=0,
        workers=0,
        seed=0,
        mbr="none",
        lexicon="",
        min_length=0,
        max_ratio=0.0,
        max_extra=0,
        max_length=0,
    )


def _sizes(largest: int, devices: int) -> list[int]:
    """Batch sizes in ascending order: the largest, halved repeatedly, each rounded up to a multiple of the devices."""
    sizes = {_round_up(largest, devices)}
    while largest > MIN_SLOTS:
        largest = max(MIN_SLOTS, largest // 2)
        sizes.add(_round_up(largest, devices))
    return sorted(sizes)


def _round_up(count: int, devices: int) -> int:
    return max(1, -(-count // devices)) * devices
