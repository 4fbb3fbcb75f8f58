"""The compiled programs of a search, two for each shape of a batch."""

import dataclasses
import threading
import time
from collections.abc import Callable
from functools import partial
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
from transformer.decoding.shapes import Shape, round_up
from transformer.distributed import sharding as parallel
from transformer.models.interface import Model

REFILL_DIVISOR, MIN_REFILL = 4, 4
"""New sentences are encoded when a quarter of the slots is free, but not fewer than four sentences at once."""


class Snapshot(NamedTuple):
    """The part of a batch's state that the host reads."""

    done: Bool[Array, "B"]
    position: Int[Array, "B"]
    tokens: Int[Array, "B N T"]
    logp: Float[Array, "B N"]
    scores: Float[Array, "B N"]
    attention: Float[Array, "B N T S"] | None


class Programs:
    """Programs for models that `build` makes from parameters.

    Each is compiled once, by the first thread that needs it. Threads that need a different program do not wait.
    Settings are those of `compiled_settings`, so that searches that differ in the others share programs.
    """

    def __init__(self, build: Callable[[Any], Model], mesh: Mesh, rules: parallel.Rules = ()):
        """`rules` are those of the model family, see `ModelConfig.cache_sharding`."""
        self.build, self.mesh, self.rules = build, mesh, rules
        self._made: dict[Any, Any] = {}
        self._locks: dict[Any, threading.Lock] = {}
        self._lock = threading.Lock()
        self.compiled = 0
        """Programs compiled so far."""
        self.seconds = 0.0
        """Compilation time, summed over threads."""

    def read(self, parameters: Any, settings: Decoding, shape: Shape) -> Callable[..., State]:
        """Encodes `refill(shape.slots)` sentences into free slots: (parameters, state, source [B S], minimum lengths
        [B], maximum lengths [B], prefixes [B P], seeds [B], slots [B]) -> state; slots out of range are dropped."""

        def read(parameters: Any, state: State, tokens: Array, *rest: Array) -> State:
            *limits, seed, slots = rest
            fresh = search.init_state(self.build(parameters), tokens, Limits(*limits), seed, shape.target, settings)
            return jax.tree.map(lambda old, new: old.at[slots].set(new, mode="drop"), state, fresh)

        rows = self.refill(shape.slots)
        lengths = ((rows, shape.source), (rows,), (rows,), (rows, shape.prefix), (rows,), (rows,))
        inputs = [
            jax.ShapeDtypeStruct(length, jnp.int32, sharding=parallel.row_sharding(self.mesh)) for length in lengths
        ]
        return self._program("read", read, parameters, settings, shape, inputs, self.shardings)

    def advance(self, parameters: Any, settings: Decoding, shape: Shape) -> Callable[..., tuple[State, Snapshot]]:
        """Searches until enough sentences are done or one needs more room: (parameters, state, number of sentences) ->
        state and what the host reads of it."""
        count = settings.num_returned

        def advance(parameters: Any, state: State, target: Array) -> tuple[State, Snapshot]:
            state = search.advance(self.build(parameters), state, target, settings)
            current = state.hypotheses
            tokens, logp, scores, attention = jax.tree.map(lambda leaf: leaf[:, :count], current.finished)
            return state, Snapshot(current.done, current.position, tokens, logp, scores, attention)

        def shardings(*arguments: Any) -> Any:
            return self.shardings(*arguments), parallel.row_sharding(self.mesh)

        target = jax.ShapeDtypeStruct((), jnp.int32)
        return self._program("advance", advance, parameters, settings, shape, [target], shardings)

    def shapes(self, parameters: Any, settings: Decoding, shape: Shape) -> Any:
        """Shape and type of every array of a state. Raises TransformerError for one that memory cannot hold."""

        def init(parameters: Any) -> State:
            zeros, row = partial(jnp.zeros, dtype=jnp.int32), jnp.zeros(shape.slots, jnp.int32)
            limits = Limits(row, row, zeros((shape.slots, shape.prefix)))
            source = zeros((shape.slots, shape.source))
            return search.init_state(self.build(parameters), source, limits, row, shape.target, settings)

        def shapes() -> Any:
            found = jax.eval_shape(init, parameters)
            memory.require(found, self.mesh, shape.slots, settings.num_hypotheses)
            return found

        return self._once(("shapes", settings, shape), shapes)

    def shardings(self, parameters: Any, settings: Decoding, shape: Shape) -> Any:
        """The sharding of every array of a state."""
        shapes = self.shapes(parameters, settings, shape)
        make = partial(parallel.cache_shardings_for, self.mesh, shapes, self.rules)
        return self._once(("shardings", settings, shape), make)

    def refill(self, slots: int) -> int:
        """Sentences encoded at once."""
        return min(slots, round_up(max(MIN_REFILL, slots // REFILL_DIVISOR), parallel.row_shards(self.mesh)))

    def _program(
        self,
        name: str,
        function: Callable[..., Any],
        parameters: Any,
        settings: Decoding,
        shape: Shape,
        inputs: list[jax.ShapeDtypeStruct],
        shardings: Callable[..., Any],
    ) -> Any:
        """The function compiled for a state of this shape, which it replaces, and further inputs."""

        def compiled() -> Any:
            state = jax.tree.map(
                lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
                self.shapes(parameters, settings, shape),
                self.shardings(parameters, settings, shape),
            )
            start = time.perf_counter()
            jitted = jax.jit(function, donate_argnums=1, out_shardings=shardings(parameters, settings, shape))
            program = jitted.lower(parameters, state, *inputs).compile()
            with self._lock:
                self.compiled += 1
                self.seconds += time.perf_counter() - start
            return program

        return self._once((name, settings, shape), compiled)

    def _once(self, key: Any, make: Callable[[], Any]) -> Any:
        """The value for a key, made by the first thread that asks for it."""
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            if key not in self._made:
                self._made[key] = make()
        return self._made[key]


def empty_state(shapes: Any, shardings: Any) -> State:
    """A state whose slots are all free: an empty slot counts as done."""
    state: Any = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    state.hypotheses.done[:] = True
    empty: State = jax.device_put(state, shardings)
    return empty


def resized(state: State, rows: list[int], shapes: Any, shardings: Any) -> State:
    """A state of these rows only, every axis padded with zeros to new shapes.

    It is done by the host: a batch is resized a few times in a search, and a program for each pair of shapes would take
    longer to compile than it saves.
    """

    def fit(leaf: np.ndarray, wanted: Any) -> np.ndarray:
        kept = leaf[rows]
        return np.pad(kept, [(0, new - old) for old, new in zip(kept.shape, wanted.shape, strict=True)])

    host = jax.tree.map(np.asarray, state)
    fitted: State = jax.device_put(jax.tree.map(fit, host, shapes), shardings)
    return fitted


def compiled_settings(settings: Decoding) -> Decoding:
    """The settings, with those that no program depends on reset."""
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
