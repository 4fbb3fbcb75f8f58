"""The hypotheses of a search, for beam search and sampling."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from transformer.decoding.config import Decoding
from transformer.decoding.limits import Limits
from transformer.decoding.penalties import coverage_penalty, length_penalty
from transformer.special_tokens import PAD


class Finished(NamedTuple):
    """Hypotheses that end with the EOS token."""

    tokens: Int[Array, "B K T"]
    logp: Float[Array, "B K"]
    scores: Float[Array, "B K"]
    """-inf if no hypothesis has finished yet."""
    attention: Float[Array, "B K T S"] | None


class Hypotheses(NamedTuple):
    """The hypotheses of a batch: K unfinished ones and K finished ones for each sentence."""

    position: Int[Array, "B"]
    """Tokens generated so far."""
    done: Bool[Array, "B"]
    """The search for the sentence has ended."""
    seed: Int[Array, "B"]
    mask: Bool[Array, "B S"] | None
    """Source tokens that are not padding; None if attention is not collected."""
    tokens: Int[Array, "B K T"]
    logp: Float[Array, "B K"]
    """-inf for a missing unfinished hypothesis."""
    attention: Float[Array, "B K T S"] | None
    """Attention to the source, averaged over layers and heads."""
    finished: Finished


def empty(
    sentences: int,
    count: int,
    length: int,
    seed: Int[Array, "B"],
    mask: Bool[Array, "B S"] | None,
    *,
    independent: bool,
) -> Hypotheses:
    """`count` empty hypotheses for each sentence, of at most `length` tokens.

    Hypotheses of a beam start identical: all but the first have log-probability -inf, so that the first step extends
    the first alone. With `independent`, each starts with log-probability 0.
    """
    B, K = sentences, count
    tokens = jnp.full((B, K, length), PAD, jnp.int32)
    none = jnp.full((B, K), -jnp.inf)
    attention = None if mask is None else jnp.zeros((B, K, length, mask.shape[1]))
    logp = jnp.zeros((B, K)) if independent else jnp.where(jnp.arange(K)[None] == 0, 0.0, none)
    done = jnp.zeros(B, bool)
    finished = Finished(tokens, none, none, attention)
    return Hypotheses(jnp.zeros(B, jnp.int32), done, seed, mask, tokens, logp, attention, finished)


def write_at(rows: Array, position: Int[Array, "B"], values: Array) -> Array:
    """rows [B N T ...] with values [B N ...] written at each sentence's position."""
    here = jnp.arange(rows.shape[2])[None] == position[:, None]
    here = here.reshape(here.shape[0], 1, here.shape[1], *[1] * (rows.ndim - 3))
    return jnp.where(here, values[:, :, None], rows)


def take(rows: Array, index: Int[Array, "B M"]) -> Array:
    """rows [B N ...] -> [B M ...]."""
    return jnp.take_along_axis(rows, index.reshape(*index.shape, *[1] * (rows.ndim - 2)), 1)


def score(
    logp: Float[Array, "B N"],
    position: Int[Array, "B"],
    attention: Float[Array, "B N T S"] | None,
    mask: Bool[Array, "B S"] | None,
    settings: Decoding,
) -> Float[Array, "B N"]:
    """Scores of hypotheses that end with the token at `position`."""
    scores = logp / length_penalty(settings.normalize, position + 1.0, settings.length_penalty)[:, None]
    if settings.coverage_penalty > 0 and attention is not None and mask is not None:
        scores += coverage_penalty(attention.sum(2), mask[:, None], settings.coverage_penalty)
    return scores


def upper_bound(logp: Float[Array, "B K"], limits: Limits, settings: Decoding) -> Float[Array, "B"]:
    """An upper bound on the final score of every unfinished hypothesis.

    Log-probabilities only fall, the length penalty is greatest at the maximum length, and the coverage penalty is at
    most 0.
    """
    return logp.max(-1) / length_penalty(settings.normalize, 1.0 * limits.max_length, settings.length_penalty)
