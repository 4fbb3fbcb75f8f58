"""Which positions may be attended to. True: it may. Masks broadcast against energies [B, H, T, S]."""

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


def picture(mask: Bool[Array, "*B T S"] | np.ndarray) -> str:
    """A mask as rows of characters for the terminal, a row for each query: ■ attends, · does not.

    Leading axes are drawn as blocks separated by an empty line.
    """
    rows = np.asarray(mask, bool)
    blocks = rows.reshape(-1, *rows.shape[-2:])
    return "\n\n".join("\n".join(" ".join("■" if cell else "·" for cell in row) for row in b) for b in blocks)
