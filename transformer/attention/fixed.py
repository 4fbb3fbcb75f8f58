"""Heads of the encoder with fixed patterns (Raganato et al. 2020, "Fixed Encoder Self-Attention Patterns")."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from transformer.attention.mechanism import Mechanism

PATTERNS = 7
"""The patterns of the paper (section 3): the token itself, the previous one, the next one, the tokens further to the
left, those further to the right, the end of the sentence and its beginning."""


def patterns(mask: Bool[Array, "B 1 S S"]) -> Float[Array, "B 7 S S"]:
    """Weights of each token (row) on the tokens of its sentence (columns where the mask is true), by position alone.

    The last four are cubes, normalised: of the place j from 1 on, or counted from the end, of the tokens up to the one
    before the previous, from the one after the next, and of all. A token without such a neighbour attends to itself.
    """
    S = mask.shape[-1]
    distance = (jnp.arange(S)[None] - jnp.arange(S)[:, None])[None, None]
    place = jnp.cumsum(mask, -1).astype(jnp.float32)
    rising, falling = place**3, (place[..., -1:] + 1 - place) ** 3
    every = jnp.ones_like(distance, bool)
    parts = (
        (distance == 0, 1),
        (distance == -1, 1),
        (distance == 1, 1),
        (distance <= -2, rising),
        (distance >= 2, falling),
        (every, rising),
        (every, falling),
    )
    raw = jnp.concatenate([jnp.where(mask & where, size, 0) for where, size in parts], 1).astype(jnp.float32)
    itself = (mask & (distance == 0)).astype(jnp.float32)
    raw = jnp.where(raw.sum(-1, keepdims=True) > 0, raw, itself)
    return raw / jnp.maximum(raw.sum(-1, keepdims=True), 1)


class Fixed(Mechanism):
    """All heads but the last have a pattern, up to seven of them in the order of `patterns`; the others attend.

    Queries and keys of a head with a pattern are computed and not used.
    """

    def _fuses(self, query: Array, keys: Array) -> bool:
        return False

    def _normalize(self, energies: Array, mask: Array) -> Array:
        count = min(PATTERNS, energies.shape[1] - 1)
        learned = super()._normalize(energies, mask)
        return jnp.concatenate([patterns(mask[:, :1])[:, :count], learned[:, count:]], 1)
