"""What a search knows of its hypotheses, whichever search it is."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from transformer.decoding.config import Decoding
from transformer.decoding.limits import Limits
from transformer.decoding.penalties import coverage_penalty, length_penalty
from transformer.special_tokens import PAD


class Ended(NamedTuple):
    """Hypotheses that have said their end mark."""

    tokens: Int[Array, "B K T"]
    logp: Float[Array, "B K"]
    scores: Float[Array, "B K"]
    """-inf marks a place that no hypothesis has taken yet."""
    looked: Float[Array, "B K T S"] | None


class Hypotheses(NamedTuple):
    """Those of a batch: K that still grow, and K that have ended."""

    position: Int[Array, "B"]
    """Tokens said so far."""
    done: Bool[Array, "B"]
    """Nothing more will come of the sentence."""
    seed: Int[Array, "B"]
    mask: Bool[Array, "B S"] | None
    """Which source tokens are real; None where nobody asks what was looked at."""
    tokens: Int[Array, "B K T"]
    logp: Float[Array, "B K"]
    """-inf marks a place without a hypothesis that grows."""
    looked: Float[Array, "B K T S"] | None
    """Attention to the source."""
    ended: Ended


def empty(
    sentences: int, count: int, length: int, seed: Int[Array, "B"], mask: Bool[Array, "B S"] | None, *, alike: bool
) -> Hypotheses:
    """Nothing said yet, `count` times a sentence. Those that begin `alike` wait for the first until they differ."""
    B, K = sentences, count
    tokens = jnp.full((B, K, length), PAD, jnp.int32)
    none = jnp.full((B, K), -jnp.inf)
    looked = None if mask is None else jnp.zeros((B, K, length, mask.shape[1]))
    logp = jnp.where(jnp.arange(K)[None] == 0, 0.0, none) if alike else jnp.zeros((B, K))
    still = jnp.zeros(B, bool)
    return Hypotheses(
        jnp.zeros(B, jnp.int32), still, seed, mask, tokens, logp, looked, Ended(tokens, none, none, looked)
    )


def put(rows: Array, position: Int[Array, "B"], values: Array) -> Array:
    """rows [B N T ...] with values [B N ...] at each sentence's position."""
    here = jnp.arange(rows.shape[2])[None] == position[:, None]
    here = here.reshape(here.shape[0], 1, here.shape[1], *[1] * (rows.ndim - 3))
    return jnp.where(here, values[:, :, None], rows)


def take(rows: Array, index: Int[Array, "B M"]) -> Array:
    """rows [B N ...] -> [B M ...]."""
    return jnp.take_along_axis(rows, index.reshape(*index.shape, *[1] * (rows.ndim - 2)), 1)


def score(
    logp: Float[Array, "B N"],
    position: Int[Array, "B"],
    looked: Float[Array, "B N T S"] | None,
    mask: Bool[Array, "B S"] | None,
    settings: Decoding,
) -> Float[Array, "B N"]:
    """Scores of hypotheses that end with the token at `position`."""
    found = logp / length_penalty(settings.normalize, position + 1.0, settings.length_penalty)[:, None]
    if settings.coverage_penalty > 0 and looked is not None and mask is not None:
        found += coverage_penalty(looked.sum(2), mask[:, None], settings.coverage_penalty)
    return found


def bound(logp: Float[Array, "B K"], limits: Limits, settings: Decoding) -> Float[Array, "B"]:
    """What no hypothesis that still grows can rise above, however it goes on.

    Its log-probability only falls, the length penalty is greatest at the limit, and the coverage penalty is at most 0.
    """
    return logp.max(-1) / length_penalty(settings.normalize, 1.0 * limits.most, settings.length_penalty)
