"""What a search may say at each position."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from transformer.special_tokens import BOS, EOS, PAD


class Limits(NamedTuple):
    """Bounds on the translations of a batch, sentence by sentence."""

    least: Int[Array, "B"]
    """Tokens before which the end mark is not said."""
    most: Int[Array, "B"]
    """Tokens, the end mark included; the end is forced there."""
    prefix: Int[Array, "B P"]
    """Tokens that every translation begins with; padding leaves the choice to the search."""


def forced(position: Int[Array, "B"], limits: Limits) -> Int[Array, "B"]:
    """The one token that must be said at a position, or PAD: the limit goes before the prefix."""
    token, P = jnp.full_like(position, PAD), limits.prefix.shape[1]
    if P:
        said = jnp.take_along_axis(limits.prefix, jnp.minimum(position, P - 1)[:, None], 1)[:, 0]
        token = jnp.where(position < P, said, PAD)
    return jnp.where(position >= limits.most - 1, EOS, token)


def allowed(tokens: Int[Array, "#B N"], position: Int[Array, "B"], limits: Limits) -> Bool[Array, "B N"]:
    """Which tokens may be said next. Padding and the begin mark never are; a forced token alone, whatever it is."""
    token = forced(position, limits)[:, None]
    free = (tokens != PAD) & (tokens != BOS) & ((tokens != EOS) | (position >= limits.least)[:, None])
    return jnp.where(token == PAD, free, tokens == token)


def log_probabilities(
    logits: Float[Array, "B K V"], position: Int[Array, "B"], limits: Limits
) -> Float[Array, "B K V"]:
    """Log-probabilities of the next token, -inf where it is not allowed.

    Probabilities are not renormalised over what is allowed.
    """
    may = allowed(jnp.arange(logits.shape[-1])[None], position, limits)
    return jnp.where(may[:, None], jax.nn.log_softmax(logits.astype(jnp.float32)), -jnp.inf)
