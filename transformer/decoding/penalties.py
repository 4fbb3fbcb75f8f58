"""How hypotheses of unequal length, and of unequal care for the source, are compared.

The score of a hypothesis is its log-probability over the length penalty, plus the coverage penalty.
"""

from typing import Any, Literal

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

Kind = Literal["gnmt", "average", "none"]

UNSEEN = 1e-4
"""Attention that counts as none at all, so that a word never looked at costs much, but not everything."""


def length_penalty(kind: Kind, length: Any, alpha: float) -> Any:
    """What a log-probability is divided by; `length` is in tokens, the end mark counted.

    gnmt: ((5 + length) / 6) ** alpha (Wu et al. 2016, equation 14). average: length ** alpha, with alpha 1 the mean
    log-probability of a token. none: 1.
    """
    if kind == "none":
        return jnp.ones_like(length, jnp.float32)
    return (((5.0 + length) / 6.0) if kind == "gnmt" else 1.0 * length) ** alpha


def coverage_penalty(looked: Float[Array, "*B S"], mask: Bool[Array, "*#B S"], beta: float) -> Float[Array, "*B"]:
    """beta * sum over source tokens of log(min(looked, 1)): at most 0 (Wu et al. 2016, equation 14).

    Args:
        looked: attention that each source token got, summed over the translation.
        mask: which source tokens are real.
        beta: weight of the penalty.
    """
    return beta * jnp.sum(jnp.where(mask, jnp.log(jnp.clip(looked, UNSEEN, 1.0)), 0.0), -1)
