"""Constraints on translations: minimum and maximum lengths, and given prefixes."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from transformer.special_tokens import BOS, EOS, PAD


class Limits(NamedTuple):
    """Bounds on the translations of a batch, one for each sentence."""

    min_length: Int[Array, "B"]
    """Fewest tokens before the EOS token."""
    max_length: Int[Array, "B"]
    """Most tokens, including the EOS token, which is forced at this length."""
    prefix: Int[Array, "B P"]
    """Tokens that every translation begins with; padding leaves the token free."""


def forced(position: Int[Array, "B"], limits: Limits) -> Int[Array, "B"]:
    """The only allowed token at a position, or PAD if the token is free. The maximum length precedes the prefix."""
    token, P = jnp.full_like(position, PAD), limits.prefix.shape[1]
    if P:
        given = jnp.take_along_axis(limits.prefix, jnp.minimum(position, P - 1)[:, None], 1)[:, 0]
        token = jnp.where(position < P, given, PAD)
    return jnp.where(position >= limits.max_length - 1, EOS, token)


def allowed(tokens: Int[Array, "#B N"], position: Int[Array, "B"], limits: Limits) -> Bool[Array, "B N"]:
    """Which tokens are allowed at a position: a forced token alone, whatever it is, otherwise all but PAD and BOS."""
    token = forced(position, limits)[:, None]
    free = (tokens != PAD) & (tokens != BOS) & ((tokens != EOS) | (position >= limits.min_length)[:, None])
    return jnp.where(token == PAD, free, tokens == token)


def log_probabilities(
    logits: Float[Array, "B K V"], position: Int[Array, "B"], limits: Limits
) -> Float[Array, "B K V"]:
    """Log-probabilities of the next token, -inf where it is not allowed.

    Probabilities are not renormalised over the allowed tokens.
    """
    valid = allowed(jnp.arange(logits.shape[-1])[None], position, limits)
    return jnp.where(valid[:, None], jax.nn.log_softmax(logits.astype(jnp.float32)), -jnp.inf)
