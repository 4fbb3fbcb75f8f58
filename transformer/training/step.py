"""One update as one jitted function: gradients of every device's rows, their sum, the optimizer."""

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array

from transformer.config import Config
from transformer.data.batching.buckets import Bucket
from transformer.distributed import sharding as parallel
from transformer.distributed.sharding import Rules
from transformer.nn.dropout import key_of_piece
from transformer.tasks.task import Loss
from transformer.training.metrics import Metrics
from transformer.training.optimizer import average_of
from transformer.training.signals import StopFlags, put_flags

State: TypeAlias = dict[str, Any]
"""step, parameters, optimizer, and optionally ema, the average of the parameters: pure trees. Dropout keys follow from
(seed, step), so no generator is kept."""

Step: TypeAlias = Callable[[State, Any, Array], tuple[State, Metrics]]
"""(state, batch, flags [N, 3] of each device's process) -> (state, metrics)."""


def shapes(parameters: Any, optimizer: optax.GradientTransformation, *, ema: bool = False) -> State:
    """Shapes and types of a state of these parameters, without its arrays; `ema`: with an average of them."""
    step = jax.ShapeDtypeStruct((), jnp.int32)
    state = {"step": step, "parameters": parameters, "optimizer": jax.eval_shape(optimizer.init, parameters)}
    return state | ({"ema": parameters} if ema else {})


def init_state(
    parameters: Any, optimizer: optax.GradientTransformation, mesh: Mesh, rules: Rules, *, ema: bool = False
) -> State:
    """The state before the first update, every array on its devices; no device ever holds the optimizer whole. `rules`
    are those of the model family, see `ModelConfig.sharding`."""
    lives = parallel.shardings_for(mesh, parameters, rules)
    average = {"ema": parallel.put(parameters, lives)} if ema else {}
    parameters = parallel.put(parameters, lives)
    places = parallel.shardings_for(mesh, jax.eval_shape(optimizer.init, parameters), rules)
    optimizer_state = jax.jit(optimizer.init, out_shardings=places)(parameters)
    step = parallel.put(jnp.int32(0), parallel.replicated(mesh))
    return {"step": step, "parameters": parameters, "optimizer": optimizer_state} | average


def eval_params(state: State) -> Any:
    """The parameters for validation and prediction: the average if there is one."""
    return state.get("ema", state["parameters"])


def averaged(ema: Any, parameters: Any, step: Array, decay: float) -> Any:
    """The moving average after an update that was preceded by `step` updates; it decays faster at first."""
    share = 1 - jnp.minimum(decay, (1 + step) / (10 + step))
    return jax.tree.map(lambda old, new: old + share * (new - old), ema, parameters)


def make_step(graph: Any, task: Loss, optimizer: optax.GradientTransformation, settings: Config, mesh: Mesh) -> Step:
    """One update. Pure; the caller jits it.

    The counts cover the whole batch, over all devices, and are known before the gradient: each term of the loss is
    divided by its own. `flags` [N, 3] are the requests of each device's process (see `StopFlags`); the metrics contain
    their sums, so that all processes end, and save, after the same update.

    Args:
        graph: of the model that is trained.
        task: has the loss.
        optimizer: turns gradients into updates.
        settings: of the run.
        mesh: the devices.
    """
    pieces = settings.training.accumulate

    def loss(parameters: Any, batch: Any, counts: Any, key: Array) -> tuple[Array, Any]:
        return task.loss(nnx.merge(graph, parameters), batch, counts, key)

    def sums(parameters: Any, batch: Any, counts: Any, key: Array) -> tuple[Any, Any]:
        """Gradients and sums for the log, of these rows, piece by piece. Dropout masks are those of the whole batch."""
        cut = jax.tree.map(lambda x: x.reshape(pieces, -1, *x.shape[1:]), batch)

        def accumulate(total: Any, piece: tuple[Any, Array]) -> tuple[Any, None]:
            rows, number = piece
            own = key if pieces == 1 else key_of_piece(key, number, pieces)
            gradients, logged = jax.grad(loss, has_aux=True)(parameters, rows, counts, own)
            return jax.tree.map(jnp.add, total, (gradients, logged)), None

        one = jax.tree.map(lambda x: x[0], cut)
        _, logged = jax.eval_shape(loss, parameters, one, counts, key)
        nothing = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), logged)
        zeros = (jax.tree.map(jnp.zeros_like, parameters), nothing)
        total, _ = jax.lax.scan(accumulate, zeros, (cut, jnp.arange(pieces)))
        gradients, logged = total
        return gradients, logged

    def step(state: State, batch: Any, flags: Array) -> tuple[State, Metrics]:
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(settings.seed), state["step"]), 0)
        counts = task.counts(batch)
        over_rows = parallel.sum_over_rows(mesh, state["parameters"], settings.model.sharding(), sums)
        gradients, totals = over_rows(state["parameters"], batch, counts, key)
        updates, optimizer_state = optimizer.update(gradients, state["optimizer"], state["parameters"])
        new = {
            "step": state["step"] + 1,
            "parameters": optax.apply_updates(state["parameters"], updates),
            "optimizer": optimizer_state,
        }
        if settings.optimizer.averages:
            new["ema"] = average_of(optimizer_state, new["parameters"])
        elif "ema" in state:
            new["ema"] = averaged(state["ema"], new["parameters"], state["step"], settings.training.ema)
        means = {count: {name: one / counts[count] for name, one in part.items()} for count, part in totals.items()}
        return new, Metrics(means, counts, optax.tree.norm(gradients), flags.sum(0))

    return step


def compile_ahead(step: Step, state: State, batches: Mapping[Bucket, Any], mesh: Mesh) -> dict[Bucket, Any]:
    """The step, compiled for every shape of batches.

    Args:
        step: what `make_step` made.
        state: before the first update.
        batches: of each shape a batch of whole rows on the host, of which only the shapes matter.
        mesh: the devices.
    """
    shardings = jax.tree.map(lambda leaf: leaf.sharding, state)
    jitted = jax.jit(step, donate_argnums=0, out_shardings=(shardings, parallel.replicated(mesh)))
    flags = put_flags(mesh, StopFlags())
    of: Any = partial(jax.ShapeDtypeStruct, sharding=parallel.row_sharding(mesh))
    shapes = [jax.tree.map(lambda leaf: of(leaf.shape, leaf.dtype), batch) for batch in batches.values()]
    lowered = [jitted.lower(state, batch, flags) for batch in shapes]
    # Most of XLA's work has one thread, so shapes share the cores.
    with ThreadPoolExecutor(min(len(lowered), os.cpu_count() or 1)) as pool:
        programs = pool.map(lambda one: one.compile(), lowered)
        return dict(zip(batches, programs, strict=True))
