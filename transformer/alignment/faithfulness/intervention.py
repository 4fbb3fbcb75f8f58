"""What a model predicts when the weights of its attention to the source are changed.

The change is the same in every layer and head, and at one step at a time: the step that predicts the token. The steps
before it, and the history that it reads, are unchanged. Letters: N changes.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


class Outcomes(NamedTuple):
    """For each step and change."""

    flipped: Bool[Array, "B T N"]
    """Another token is the most likely one."""
    distance: Float[Array, "B T N"]
    """Total variation distance, from 0 to 1, between the distributions over the vocabulary: half the sum of the
    absolute differences (Jain and Wallace 2019, section 4)."""


def outcomes(
    build: Callable[[], Any], source: Int[Array, "B S"], target_in: Int[Array, "B T"], orders: Int[Array, "B T N S"]
) -> Outcomes:
    """Predictions with changed weights against those without.

    Args:
        build: a fresh model.
        source: token ids.
        target_in: as `models.interface.Decoder.decode` reads it.
        orders: for each step and change, the position that each position takes its weight from; -1: its weight is 0.
    """
    model = build()
    cross, cache = model.init_cache(model.encode(source), target_in.shape[1], independent=True)
    model.prepare_for_decoding()

    def probabilities(model: Any, hidden: Array) -> Array:
        return jax.nn.softmax(model.output(hidden).astype(jnp.float32))

    def step(cache: Any, inputs: tuple[Array, Array]) -> tuple[Any, Outcomes]:
        tokens, orders = inputs
        hidden, after, _ = model.step(tokens, cross, cache)
        plain = probabilities(model, hidden)

        def changed(order: Int[Array, "B S"]) -> tuple[Array, Array]:
            other = build()
            other.change_attention(lambda weights: reorder(weights, order))
            new = probabilities(other, other.step(tokens, cross, cache)[0])
            return new.argmax(-1) != plain.argmax(-1), jnp.abs(new - plain).sum(-1) / 2

        flipped, distance = jax.lax.map(changed, orders.swapaxes(0, 1))
        return after, Outcomes(flipped.T, distance.T)

    _, found = jax.lax.scan(step, cache, (target_in.T, orders.swapaxes(0, 1)))
    return Outcomes(*(values.swapaxes(0, 1) for values in found))


def reorder(weights: Float[Array, "B *N S"], order: Int[Array, "B S"]) -> Float[Array, "B *N S"]:
    """Each position gets the weight of another one, or none; the rest is scaled to the original sum.

    A row with no weight left is zero.
    """
    B, S = order.shape
    order = jnp.broadcast_to(order.reshape(B, *(1,) * (weights.ndim - 2), S), weights.shape)
    moved = jnp.where(order < 0, 0, jnp.take_along_axis(weights, jnp.maximum(order, 0), -1))
    left = moved.sum(-1, keepdims=True)
    return moved * jnp.where(left > 0, weights.sum(-1, keepdims=True) / jnp.where(left > 0, left, 1), 0)
