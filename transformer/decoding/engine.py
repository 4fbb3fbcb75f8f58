"""Many sentences through a search: batches that are refilled while they run.

A batch has a fixed number of places. As soon as enough of its sentences are done, others take their places, longer and
longer ones, so that hardly a row is computed for nothing. Its arrays grow along a ladder of lengths as longer sources
come or translations need more room; when nothing is waiting, the batch shrinks to what is left of it. So there is a
small number of shapes, each compiled once.
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

from transformer.decoding import search
from transformer.decoding.config import Decoding
from transformer.decoding.limits import Limits
from transformer.decoding.search import State
from transformer.distributed import sharding as parallel
from transformer.models.interface import Model

log = logging.getLogger(__name__)

LENGTHS = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
"""Lengths that are compiled."""
SMALLEST = 16
"""Places of the smallest batch."""
SHARE, FEWEST = 4, 4
"""New sentences are read when a quarter of the places is free, but not fewer than four of them."""


def padded(longest: int, limit: int) -> int:
    """The compiled length that a batch is padded to."""
    return min(next((length for length in LENGTHS if length >= longest), limit), limit)


def room(source: int, limit: int) -> int:
    """Tokens that a batch of sources of this length has room for at first; it grows when a translation needs more."""
    return min(source + source // 4 + 4, limit)


class Job(NamedTuple):
    """A sentence to translate."""

    number: int
    source: Sequence[int]
    """With its end mark."""
    least: int
    most: int
    prefix: Sequence[int]
    seed: int


class Found(NamedTuple):
    """What came of it, best first; N hypotheses."""

    number: int
    tokens: Int[np.ndarray, "N T"]
    logp: np.ndarray
    scores: np.ndarray
    looked: np.ndarray | None


class Engine:
    """Searches with models that `build` makes of parameters, which come with every call."""

    def __init__(self, build: Callable[[Any], Model], mesh: Mesh, max_length: int):
        self.build, self.mesh, self.max_length = build, mesh, max_length
        self._known: dict[Any, Any] = {}
        self._locks: dict[Any, threading.Lock] = {}
        self._lock = threading.Lock()
        self.compiled = 0
        """Programs compiled so far."""
        self.seconds = 0.0
        """Time that compiling them took, in every thread."""

    def run(self, parameters: Any, jobs: Sequence[Job], settings: Decoding) -> Iterator[Found]:
        """Translate all jobs; they come as they are done, short ones first."""
        waiting = deque(sorted(jobs, key=lambda job: len(job.source)))
        workers = settings.workers or (2 if jax.default_backend() == "cpu" and (os.cpu_count() or 1) > 1 else 1)
        workers = max(1, min(workers, len(jobs) // SMALLEST))
        prefix = max((len(job.prefix) for job in jobs), default=0)
        prefix = padded(prefix, self.max_length) if prefix else 0
        if workers == 1:
            yield from Places(self, parameters, waiting, settings, prefix).run()
            return
        found: SimpleQueue[Found | None] = SimpleQueue()

        def work() -> None:
            try:
                for one in Places(self, parameters, waiting, settings, prefix).run():
                    found.put(one)
            finally:
                found.put(None)

        with ThreadPoolExecutor(workers) as pool:
            tasks = [pool.submit(work) for _ in range(workers)]
            try:
                while workers:
                    one = found.get()
                    if one is None:
                        workers -= 1
                    else:
                        yield one
            finally:
                waiting.clear()
            for task in tasks:
                task.result()

    def program(self, name: Any, function: Callable[..., Any], *inputs: Any, donate: tuple[int, ...], keep: Any) -> Any:
        """The function, compiled for inputs of these shapes."""

        def compiled() -> Any:
            began = time.perf_counter()
            program = jax.jit(function, donate_argnums=donate, out_shardings=keep).lower(*inputs).compile()
            with self._lock:
                self.compiled += 1
                self.seconds += time.perf_counter() - began
            return program

        return self.once((name, tuple(leaf.shape for leaf in jax.tree.leaves(inputs))), compiled)

    def once(self, key: Any, make: Callable[[], Any]) -> Any:
        """What is made for a key, the first time; by one thread, while the others go on."""
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            if key not in self._known:
                self._known[key] = make()
        return self._known[key]


class Report(NamedTuple):
    """What the host wants to know of a batch."""

    done: Bool[Array, "B"]
    position: Int[Array, "B"]
    tokens: Int[Array, "B N T"]
    logp: Float[Array, "B N"]
    scores: Float[Array, "B N"]
    looked: Float[Array, "B N T S"] | None


class Places:
    """A batch of one thread: which sentence has which place, and the arrays on the devices."""

    def __init__(self, engine: Engine, parameters: Any, waiting: deque[Job], settings: Decoding, prefix: int):
        self._engine, self._parameters, self._waiting = engine, parameters, waiting
        self._settings = _compiled_with(settings)
        self._rows = parallel.row_sharding(engine.mesh)
        self._prefix, self._sizes = prefix, _sizes(settings.batch, parallel.row_shards(engine.mesh))
        self._jobs: list[Job | None] = [None] * next(
            (size for size in self._sizes if size >= len(waiting)), self._sizes[-1]
        )
        self._source = padded(1, engine.max_length)
        self._target = room(self._source, engine.max_length)
        self._state = jax.tree.map(
            lambda leaf, place: jax.device_put(np.zeros(leaf.shape, leaf.dtype), place), self._shapes(), self._lives()
        )
        # A place that nobody has is done.
        done = jax.device_put(np.ones(len(self._jobs), bool), self._rows)
        self._state = self._state._replace(hypotheses=self._state.hypotheses._replace(done=done))

    def run(self) -> Iterator[Found]:
        """All that is waiting, until nothing is."""
        while True:
            self._fill()
            if not any(self._jobs):
                return
            yield from self._advance()

    @property
    def _share(self) -> int:
        """Sentences read at once."""
        return min(
            len(self._jobs), _round(max(FEWEST, len(self._jobs) // SHARE), parallel.row_shards(self._engine.mesh))
        )

    def _fill(self) -> None:
        """Let sentences take the places that are free; or have fewer places."""
        while True:
            free = [place for place, job in enumerate(self._jobs) if job is None]
            new = self._take() if len(free) >= self._share else []
            if not new:
                break
            self._read(new, free)
        active = len(self._jobs) - len(free)
        size = next(size for size in self._sizes if size >= active)
        if active and not self._waiting and size < len(self._jobs):
            order = sorted(range(len(self._jobs)), key=lambda place: self._jobs[place] is None)[:size]
            self._resize(order, self._source, self._target)

    def _take(self) -> list[Job]:
        new: list[Job] = []
        while len(new) < self._share:
            try:
                new.append(self._waiting.popleft())
            except IndexError:  # another thread may have taken the last
                break
        return new

    def _read(self, new: list[Job], free: list[int]) -> None:
        """Encode sentences into free places."""
        limit, rows = self._engine.max_length, self._share
        source = max(self._source, padded(max(len(job.source) for job in new), limit))
        target = max(self._target, room(source, limit))
        if (source, target) != (self._source, self._target):
            self._resize(range(len(self._jobs)), source, target)
        tokens, prefix = np.zeros((rows, source), np.int32), np.zeros((rows, self._prefix), np.int32)
        least, most, seed = np.zeros((3, rows), np.int32)
        places = np.full(rows, len(self._jobs), np.int32)  # beyond the last: dropped
        for row, (job, place) in enumerate(zip(new, free, strict=False)):
            tokens[row, : len(job.source)], prefix[row, : len(job.prefix)] = job.source, job.prefix
            least[row], most[row], seed[row], places[row] = job.least, job.most, job.seed, place
            self._jobs[place] = job
        batch = parallel.put_batch(self._engine.mesh, (tokens, least, most, prefix, seed, places))

        def read(parameters: Any, state: State, tokens: Array, *of: Array) -> State:
            *limits, seed, places = of
            model = self._engine.build(parameters)
            fresh = search.begin(model, tokens, Limits(*limits), seed, target, self._settings)
            return jax.tree.map(lambda old, new: old.at[places].set(new, mode="drop"), state, fresh)

        inputs = self._parameters, self._state, *batch
        program = self._engine.program(("read", self._settings), read, *inputs, donate=(1,), keep=self._lives())
        self._state = program(*inputs)

    def _advance(self) -> Iterator[Found]:
        """Search until others can take the places of what is done, or the room is too small."""
        size, count = len(self._jobs), self._settings.given
        smaller = max((s for s in self._sizes if s < size), default=0)
        enough = np.int32(self._share if self._waiting else size - smaller)

        def go_on(parameters: Any, state: State, enough: Array) -> tuple[State, Report]:
            state = search.advance(self._engine.build(parameters), state, enough, self._settings)
            known = state.hypotheses
            tokens, logp, scores, looked = jax.tree.map(lambda leaf: leaf[:, :count], known.ended)
            return state, Report(known.done, known.position, tokens, logp, scores, looked)

        inputs = self._parameters, self._state, enough
        keep = self._lives(), self._rows
        program = self._engine.program(("advance", self._settings), go_on, *inputs, donate=(1,), keep=keep)
        self._state, report = program(*inputs)
        report = jax.tree.map(np.asarray, report)
        for place, job in enumerate(self._jobs):
            if job is not None and report.done[place]:
                self._jobs[place] = None
                there = report.scores[place] > -np.inf
                looked = None if report.looked is None else report.looked[place][there, :, : len(job.source)]
                yield Found(
                    job.number,
                    report.tokens[place][there],
                    report.logp[place][there],
                    report.scores[place][there],
                    looked,
                )
        if any(job is not None and report.position[place] >= self._target for place, job in enumerate(self._jobs)):
            longer = padded(self._target + 1, self._engine.max_length)
            self._resize(range(size), self._source, longer)

    def _resize(self, rows: Sequence[int], source: int, target: int) -> None:
        """Other places and lengths: rows are taken, and every axis that grows is filled up with zeros."""
        self._jobs, self._source, self._target = [self._jobs[row] for row in rows], source, target
        shapes = self._shapes()

        def resize(state: State, rows: Array) -> State:
            def one(leaf: Array, shape: Any) -> Array:
                leaf = leaf[rows]
                return jnp.pad(leaf, [(0, new - old) for old, new in zip(leaf.shape, shape.shape, strict=True)])

            return jax.tree.map(one, state, shapes)

        inputs = self._state, np.array(rows, np.int32)
        name = "resize", self._settings, len(rows), source, target
        program = self._engine.program(name, resize, *inputs, donate=(), keep=self._lives())
        self._state = program(*inputs)

    def _lives(self) -> Any:
        """Where the arrays of such a state are."""
        known = self._shapes()
        make = partial(parallel.shardings_for, self._engine.mesh, known, parallel.CACHES)
        return self._engine.once(("lives", self._size), make)

    def _shapes(self) -> Any:
        """What a state of this size looks like."""
        rows = len(self._jobs)

        def begin(parameters: Any) -> State:
            of, one = partial(jnp.zeros, dtype=jnp.int32), jnp.zeros(rows, jnp.int32)
            limits = Limits(one, one, of((rows, self._prefix)))
            model = self._engine.build(parameters)
            return search.begin(model, of((rows, self._source)), limits, one, self._target, self._settings)

        return self._engine.once(("shapes", self._size), lambda: jax.eval_shape(begin, self._parameters))

    @property
    def _size(self) -> Any:
        """All that shapes a state."""
        return self._settings, len(self._jobs), self._source, self._target, self._prefix


def _compiled_with(settings: Decoding) -> Decoding:
    """The settings, those left out which no program depends on."""
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
    """Sizes of batches, from the smallest to the largest: halves of halves, each a multiple of the devices."""
    sizes = {_round(largest, devices)}
    while largest > SMALLEST:
        largest = max(SMALLEST, largest // 2)
        sizes.add(_round(largest, devices))
    return sorted(sizes)


def _round(count: int, devices: int) -> int:
    return max(1, -(-count // devices)) * devices
