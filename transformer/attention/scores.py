"""Compatibility of queries with keys: the one line in which attention mechanisms differ."""

from collections.abc import Callable
from typing import TypeAlias

import jax.numpy as jnp
from jaxtyping import Array, Float

Score: TypeAlias = Callable[[Array, Array], Array]


def dot(query: Float[Array, "*B T K"], keys: Float[Array, "*B S K"]) -> Float[Array, "*B T S"]:
    """Inner product (Luong 2015, section 3.1, "dot")."""
    return jnp.einsum("...tk,...sk->...ts", query, keys)


def scaled_dot(query: Float[Array, "*B T K"], keys: Float[Array, "*B S K"]) -> Float[Array, "*B T S"]:
    """Inner product over sqrt(K), so that its variance does not grow with K (Vaswani 2017, equation 1)."""
    return dot(query * query.shape[-1] ** -0.5, keys)


SCORES: dict[str, Score] = {"dot": dot, "scaled_dot": scaled_dot}
