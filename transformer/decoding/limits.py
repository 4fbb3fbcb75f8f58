"""What a search may say at each position."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from transformer.marks import BEGIN, END, PAD


class Limits(NamedTuple):
    """Bounds on the translations of a batch, sentence by sentence."""

    least: Int[Array, "B"]
    """Tokens before which the end mark is not said."""
    most: Int[Array, "B"]
    """Tokens, the end mark included; the end is forced there."""
    prefix: Int[Array, "B P"]
    """Tokens that every translation begins with; padding leaves the choice to the search."""


def log_probabilities(
    logits: Float[Array, "B K V"], position: Int[Array, "B"], limits: Limits
) -> Float[Array, "B K V"]:
    """Log-probabilities of the next token, -inf where it is not allowed.

    Padding and the begin mark are never said. The limit goes before the prefix, and the prefix before the least length.
    Probabilities are not renormalised over what is allowed.
    """
    token, P = jnp.arange(logits.shape[-1])[None], limits.prefix.shape[1]
    allowed = (token != PAD) & (token != BEGIN) & ((token != END) | (position >= limits.least)[:, None])
    if P:
        said = jnp.take_along_axis(limits.prefix, jnp.minimum(position, P - 1)[:, None], 1)
        allowed = jnp.where((position[:, None] < P) & (said != PAD), token == said, allowed)
    allowed = jnp.where((position >= limits.most - 1)[:, None], token == END, allowed)
    return jnp.where(allowed[:, None], jax.nn.log_softmax(logits.astype(jnp.float32)), -jnp.inf)
