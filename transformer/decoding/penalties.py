"""Length and coverage penalties.

The score of a hypothesis is its log-probability divided by the length penalty, plus the coverage penalty.
"""

from typing import Any, Literal

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

Kind = Literal["gnmt", "average", "none"]

MIN_COVERAGE = 1e-4
"""Smallest coverage of a source token, so that a token without attention has a finite penalty."""


def length_penalty(kind: Kind, length: Any, alpha: float) -> Any:
    """The divisor of a log-probability; `length` is in tokens, including the EOS token.

    gnmt: ((5 + length) / 6) ** alpha (Wu et al. 2016, equation 14). average: length ** alpha, with alpha 1 the mean
    log-probability of a token. none: 1.
    """
    if kind == "none":
        return jnp.ones_like(length, jnp.float32)
    return (((5.0 + length) / 6.0) if kind == "gnmt" else 1.0 * length) ** alpha


def coverage_penalty(coverage: Float[Array, "*B S"], mask: Bool[Array, "*#B S"], beta: float) -> Float[Array, "*B"]:
    """beta * sum over source tokens of log(min(coverage, 1)): at most 0 (Wu et al. 2016, equation 14).

    Args:
        coverage: attention to each source token, summed over the translation.
        mask: source tokens that are not padding.
        beta: weight of the penalty.
    """
    return beta * jnp.sum(jnp.where(mask, jnp.log(jnp.clip(coverage, MIN_COVERAGE, 1.0)), 0.0), -1)
