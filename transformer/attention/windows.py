"""Which part of the source a query attends to: all of it, or a window (Luong 2015, sections 3.1 and 3.2).

A window returns a mask, and a gain that multiplies the weights after the softmax, so that they need not sum to one.
Positions count from 0 in the sentence's own order, even if the encoder reads it backwards.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from transformer.attention.scores import Sizes, Start, Weights, matrix, none, vector
from transformer.nn.precision import summed
from transformer.plugins import Table


@dataclass(frozen=True)
class Window:
    """A choice of source positions; an entry of `WINDOWS`."""

    mask_and_gain: Callable[[Array, Array, Any, Array, int, Weights], tuple[Array | None, Array | None]]
    """(query [B T Q], position [#B T], lengths [B] or None, positions of keys [S], half width, weights) -> (mask, gain)
    [#B T S], or None for either where nothing is masked or weighted."""
    weights: Callable[[Sizes], dict[str, Start]] = none
    """Its parameters and how they are drawn; one set for each head."""
    needs_lengths: bool = False
    """Whether it depends on the sentence's length, which is unknown while the sentence is generated."""


def everywhere(
    query: Float[Array, "*B T Q"],
    position: Int[Array, "#B T"],
    lengths: Int[Array, "B"] | None,
    keys: Int[Array, "S"],
    half_width: int,
    weights: Weights,
) -> tuple[None, None]:
    """(global) All of the source."""
    return None, None


def monotonic(
    query: Float[Array, "*B T Q"],
    position: Int[Array, "#B T"],
    lengths: Int[Array, "B"] | None,
    keys: Int[Array, "S"],
    half_width: int,
    weights: Weights,
) -> tuple[Bool[Array, "#B T S"], None]:
    """(local-m) The window advances with the target, p_t = t (Luong 2015, section 3.2), up to the sentence's end."""
    centre = position if lengths is None else jnp.minimum(position, lengths[:, None] - 1)
    return jnp.abs(keys[None, None] - centre[..., None]) <= half_width, None


def predictive_weights(sizes: Sizes) -> dict[str, Start]:
    """W_p [Q, A], v_p [A]."""
    return {"centre": matrix(sizes.query, sizes.hidden), "centre_vector": vector(sizes.hidden)}


def predicted(query: Float[Array, "B T Q"], lengths: Int[Array, "B"], weights: Weights) -> Float[Array, "B T"]:
    """p_t = S sigmoid(v_p · tanh(W_p h_t)) (Luong 2015, equation 9), S the sentence's own length."""
    share = jax.nn.sigmoid(summed(jnp.matmul, jnp.tanh(query @ weights["centre"]), weights["centre_vector"]))
    return lengths[:, None] * share


def predictive(
    query: Float[Array, "B T Q"],
    position: Int[Array, "#B T"],
    lengths: Int[Array, "B"],
    keys: Int[Array, "S"],
    half_width: int,
    weights: Weights,
) -> tuple[Bool[Array, "B T S"], Float[Array, "B T S"]]:
    """(local-p) A window around a predicted position, weighted by a Gaussian (Luong 2015, equation 10)."""
    distance = keys[None, None] - predicted(query, lengths, weights)[..., None]
    return jnp.abs(distance) <= half_width, jnp.exp(-(distance**2) / (2 * (half_width / 2) ** 2))


WINDOWS: Table[Window] = Table("window", {
    "global": Window(everywhere),
    "local_m": Window(monotonic),
    "local_p": Window(predictive, predictive_weights, needs_lengths=True),
})  # fmt: skip
"""Every window by name; a plugin adds its own here."""
