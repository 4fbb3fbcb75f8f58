"""One update as one jitted function: gradients of every device's rows, their sum, the optimizer."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array

from transformer import config
from transformer.data.batching.batches import Batch
from transformer.data.batching.buckets import Bucket
from transformer.distributed import sharding as parallel
from transformer.nn.losses import cross_entropy, guiding
from transformer.training.metrics import Wishes

State = dict[str, Any]
"""step, parameters, optimizer, and with an average of the parameters ema: pure trees. Dropout keys follow from (seed,
step), so no generator is kept."""


def shapes(parameters: Any, optimizer: optax.GradientTransformation, *, ema: bool = False) -> State:
    """What a state of these parameters looks like, without any array of it; `ema`: with an average of them."""
    step = jax.ShapeDtypeStruct((), jnp.int32)
    state = {"step": step, "parameters": parameters, "optimizer": jax.eval_shape(optimizer.init, parameters)}
    return state | ({"ema": parameters} if ema else {})


def begin(parameters: Any, optimizer: optax.GradientTransformation, mesh: Mesh, *, ema: bool = False) -> State:
    """The state before the first update, every array where it lives; no device ever holds the optimizer whole."""
    lives = parallel.shardings_for(mesh, parameters)
    average = {"ema": parallel.put(parameters, lives)} if ema else {}
    parameters = parallel.put(parameters, lives)
    places = parallel.shardings_for(mesh, jax.eval_shape(optimizer.init, parameters))
    optimizer_state = jax.jit(optimizer.init, out_shardings=places)(parameters)
    step = parallel.put(jnp.int32(0), parallel.replicated(mesh))
    return {"step": step, "parameters": parameters, "optimizer": optimizer_state} | average


def learned(state: State) -> Any:
    """The parameters that translate: the average where there is one."""
    return state.get("ema", state["parameters"])


def averaged(ema: Any, parameters: Any, step: Array, decay: float) -> Any:
    """The moving average after an update, `step` updates having been done before it: it forgets faster at first."""
    share = 1 - jnp.minimum(decay, (1 + step) / (10 + step))
    return jax.tree.map(lambda old, new: old + share * (new - old), ema, parameters)


def make_step(
    graph: Any, optimizer: optax.GradientTransformation, settings: config.Config, mesh: Mesh
) -> Callable[[State, Batch, Array], tuple[State, dict[str, Array]]]:
    """One update: (state, batch, wishes) -> (state, metrics). Pure; the caller jits it.

    `wishes` [N, 3] is what each device's process wishes (see `Wishes`); the metrics have their sums, so that all
    processes end, and save, after the same update.
    """

    guided, pieces = settings.task.guided, settings.training.accumulate
    by_sentence = settings.task.mean_over == "sentences"

    def loss(parameters: Any, batch: Batch, key: Array) -> tuple[Array, dict[str, Array]]:
        model = nnx.merge(graph, parameters)
        model.set_attributes(precision=settings.training.precision, remat=settings.training.remat)
        encoder_key, decoder_key = jax.random.split(key)
        memory = model.encode(batch.source, encoder_key)
        hidden, attention = model.decode(memory, batch.target_in, decoder_key, weights=guided.weight > 0)
        total, nll = cross_entropy(
            model.output,
            hidden,
            batch.target_out,
            smoothing=settings.task.label_smoothing,
            chunk=settings.training.loss_chunk,
        )
        parts = {"nll": nll.sum()}
        if guided.weight > 0:
            heads = attention.cross[:, guided.layer, jnp.array(guided.heads)]
            parts["guiding"] = guiding(heads, batch.alignment, batch.target_out)
            total += guided.weight * parts["guiding"]
        return total, parts

    def sums(parameters: Any, batch: Batch, key: Array) -> tuple[Any, dict[str, Array]]:
        """Gradients and losses, summed over the rows, piece by piece."""
        # Every piece takes its rows from all devices' shares, so that masks are those of one device.
        cut = jax.tree.map(lambda x: x.reshape(-1, pieces, *x.shape[1:]).swapaxes(0, 1), batch)

        def accumulate(sums: Any, piece: tuple[Batch, Array]) -> tuple[Any, None]:
            rows, number = piece
            grad = jax.value_and_grad(loss, has_aux=True)
            return jax.tree.map(jnp.add, sums, grad(parameters, rows, jax.random.fold_in(key, number))), None

        names = ("nll", "guiding") if guided.weight > 0 else ("nll",)
        nothing = (jnp.zeros(()), {name: jnp.zeros(()) for name in names})
        zeros = (nothing, jax.tree.map(jnp.zeros_like, parameters))
        ((total, parts), gradients), _ = jax.lax.scan(accumulate, zeros, (cut, jnp.arange(pieces)))
        real = batch.target_out != 0
        counts = {"tokens": real.sum()} | ({"sentences": real.any(1).sum()} if by_sentence else {})
        return gradients, parts | {"loss": total} | counts

    def step(state: State, batch: Batch, wishes: Array) -> tuple[State, dict[str, Array]]:
        key = jax.random.fold_in(jax.random.key(settings.seed), state["step"])
        over_rows = parallel.sum_over_rows(mesh, state["parameters"], sums)
        gradients, totals = over_rows(state["parameters"], batch, key)
        # Global sum over global sum: the mean over all tokens of the update, however they are spread.
        tokens = totals.pop("tokens")
        count = totals.pop("sentences") if by_sentence else tokens
        gradients = jax.tree.map(lambda g: g / count, gradients)
        updates, optimizer_state = optimizer.update(gradients, state["optimizer"], state["parameters"])
        new = {
            "step": state["step"] + 1,
            "parameters": optax.apply_updates(state["parameters"], updates),
            "optimizer": optimizer_state,
        }
        if "ema" in state:
            new["ema"] = averaged(state["ema"], new["parameters"], state["step"], settings.training.ema)
        means = {name: total / tokens for name, total in totals.items()}
        agreed = dict(zip(Wishes._fields, wishes.sum(0), strict=True))
        return new, means | {"grad_norm": optax.tree.norm(gradients), "tokens": tokens} | agreed

    return step


def compile_ahead(
    step: Callable[[State, Batch, Array], tuple[State, dict[str, Array]]],
    state: State,
    buckets: Sequence[Bucket],
    mesh: Mesh,
    pieces: int,
    aligned: bool = False,
) -> dict[Bucket, Any]:
    """The step, compiled for every shape of batches; `aligned` says whether batches bring alignments.

    Where the rows of a shape do not divide over the mesh, it has as many more, of weight zero.
    """
    jitted = jax.jit(
        step, donate_argnums=0, out_shardings=(parallel.shardings_for(mesh, state), parallel.replicated(mesh))
    )

    def shapes(bucket: Bucket) -> Batch:
        rows, S, T = bucket
        of: Any = partial(jax.ShapeDtypeStruct, sharding=parallel.row_sharding(mesh))
        alignment = of((rows, T, S), jnp.float32) if aligned else None
        source, target = (of((rows, length), jnp.int32) for length in (S, T))
        return Batch(source, target, target, alignment)

    nothing = wishes(mesh, Wishes())
    buckets = [bucket._replace(rows=parallel.padded_rows(mesh, bucket.rows, pieces)) for bucket in buckets]
    lowered = [jitted.lower(state, shapes(bucket), nothing) for bucket in buckets]
    # Most of XLA's work has one thread, so shapes share the cores.
    with ThreadPoolExecutor(min(len(lowered), os.cpu_count() or 1)) as pool:
        programs = pool.map(lambda one: one.compile(), lowered)
        return dict(zip(buckets, programs, strict=True))


def wishes(mesh: Mesh, own: Wishes) -> Array:
    """[N, 3], a row for each device: what its process wishes."""
    wished: Array = parallel.put_per_device(mesh, np.array(own, np.float32))
    return wished
