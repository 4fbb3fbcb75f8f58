"""What a search may say at each position."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from transformer.marks import BEGIN, END, PAD


def log_probabilities(
    logits: Float[Array, "R V"], position: Int[Array, ""], limits: Int[Array, "R"]
) -> Float[Array, "R V"]:
    """Log-probabilities of the next token, -inf where it is not allowed.

    Padding and the begin mark are never said; at the last position that a limit allows only the end mark is.
    Probabilities are not renormalised over what is allowed.
    """
    token = jnp.arange(logits.shape[-1])[None]
    forced = (position >= limits - 1)[:, None]
    allowed = jnp.where(forced, token == END, (token != PAD) & (token != BEGIN))
    return jnp.where(allowed, jax.nn.log_softmax(logits.astype(jnp.float32)), -jnp.inf)
