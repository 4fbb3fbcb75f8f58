"""Which positions may be attended to (True). Masks broadcast against energies [B, H, T, S]."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

from transformer.special_tokens import PAD


def padding(tokens: Int[Array, "B S"]) -> Bool[Array, "B 1 1 S"]:
    """True at real tokens, for every head and query."""
    return (tokens != PAD)[:, None, None, :]


def future(length: int) -> Bool[Array, "1 1 T T"]:
    """Lower triangle: query t attends to positions 0..t (Vaswani 2017, section 3.2.3)."""
    return jnp.tril(jnp.ones((1, 1, length, length), bool))


def same_segment(queries: Int[Array, "B T"], keys: Int[Array, "B S"]) -> Bool[Array, "B 1 T S"]:
    """True within a segment, for rows that hold several sequences one after the other.

    The segment of each position is a number from 1 on, 0 at padding; padding attends to nothing and is attended to by
    nothing. With the mask `future` a sequence attends to its own past.
    """
    return (queries[:, None, :, None] == keys[:, None, None, :]) & (keys != 0)[:, None, None, :]


def positions(segments: Int[Array, "B T"]) -> Int[Array, "B T"]:
    """Positions that count from 0 in every segment, and in the padding."""
    places = jnp.arange(segments.shape[1])[None]
    begins = jnp.pad(segments[:, 1:] != segments[:, :-1], [(0, 0), (1, 0)], constant_values=True)
    return places - jax.lax.cummax(jnp.where(begins, places, 0), axis=1)


def picture(mask: Bool[Array, "*B T S"] | np.ndarray) -> str:
    """A mask as rows of characters for the terminal, a row for each query: ■ attends, · does not.

    Leading axes are drawn as blocks separated by an empty line.
    """
    rows = np.asarray(mask, bool)
    blocks = rows.reshape(-1, *rows.shape[-2:])
    return "\n\n".join("\n".join(" ".join("■" if cell else "·" for cell in row) for row in b) for b in blocks)
