"""Keys and values of the tokens of hypotheses that share their histories, for self-attention in a search."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


class Cache(NamedTuple):
    """Keys and values of the tokens so far, one pair for each layer.

    They stay where they were written: the N hypotheses of a sentence form a tree, and each hypothesis records which of
    them wrote each token of its own history.
    """

    keys: tuple[Float[Array, "B G N T O"], ...]
    values: tuple[Float[Array, "B G N T K"], ...]
    writer: Int[Array, "B N T"] | None
    """Which hypothesis wrote token t of hypothesis n; None: always n itself."""
    position: Int[Array, "B"]
    """Number of tokens so far."""


def extend(cache: Cache) -> tuple[Int[Array, "B N T"] | None, Bool[Array, "B N N T"] | None]:
    """The writers with each hypothesis' newest token, and the path that `Mechanism.attend_along_beam` needs."""
    if cache.writer is None:
        return None, None
    _, N, T = cache.writer.shape
    now = jnp.arange(T)[None] == cache.position[:, None]
    writer = jnp.where(now[:, None], jnp.arange(N)[None, :, None], cache.writer)
    return writer, writer[:, :, None] == jnp.arange(N)[None, None, :, None]


def reorder(cache: Cache, parent: Int[Array, "B N"]) -> Cache:
    """Hypothesis n of each sentence continues from `parent[:, n]`; no keys or values are copied."""
    assert cache.writer is not None
    return cache._replace(writer=jnp.take_along_axis(cache.writer, parent[:, :, None], 1))
