"""Read-outs as shares, so that the same rules turn all of them into links and pictures."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def shares(measured: Float[Array, "*B T S"]) -> Float[Array, "*B T S"]:
    """Rows that sum to 1, without negative values; a row without positive values is zero."""
    positive = jnp.maximum(measured, 0)
    total = positive.sum(-1, keepdims=True)
    return positive / jnp.where(total > 0, total, 1)
