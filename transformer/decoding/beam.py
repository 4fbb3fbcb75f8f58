"""Beam search with length penalty and a stop that is provably safe."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from transformer.decoding.limits import log_probabilities
from transformer.marks import BEGIN, END, PAD
from transformer.models.contract import Cache, Memory, Model


class State(NamedTuple):
    """Hypotheses of a batch: K that still grow, and the K best that have ended, best first."""

    position: Int[Array, ""]
    tokens: Int[Array, "B K T"]
    logp: Float[Array, "B K"]
    ended: Int[Array, "B K T"]
    scores: Float[Array, "B K"]
    cache: Cache


def length_penalty(length: Any, alpha: float) -> Any:
    """What a hypothesis' log-probability is divided by (Wu et al. 2016, equation 14); end mark counted."""
    return ((5.0 + length) / 6.0) ** alpha


def beam_search(
    model: Model, memory: Memory, limits: Int[Array, "B"], length: int, beam: int, alpha: float
) -> tuple[Int[Array, "B K T"], Float[Array, "B K"]]:
    """The `beam` best translations of each sentence; with `beam` 1 and `alpha` 0 it is greedy search.

    A sentence is finished when not even its likeliest growing hypothesis, ended at its limit at no further
    cost, could beat the worst of the K that have ended: with alpha >= 0 no score can rise above that bound.

    Args:
        model: any model.
        memory: the encoded sources.
        limits: most tokens of each translation, end mark included; the end is forced there.
        length: T, at least the largest limit.
        beam: K.
        alpha: of the length penalty; at least 0.

    Returns:
        Hypotheses, best first, each up to and with the end mark, then padding; and their scores
        (log-probability over length penalty). A score of -inf marks a place that no hypothesis took.
    """
    B, K = limits.shape[0], beam
    fixed, cache = model.start(memory, length, beam)
    bound = length_penalty(limits.astype(jnp.float32), alpha)

    def going(state: State) -> Array:
        hope = state.logp.max(-1) / bound > state.scores[:, -1]
        return (state.position < length) & jnp.any(hope)

    def step(state: State) -> State:
        position = state.position
        last = state.tokens[:, :, jnp.maximum(position - 1, 0)]
        last = jnp.where(position == 0, BEGIN, last).reshape(B * K)
        hidden, cache, _ = model.step(last, fixed, state.cache)
        logp = log_probabilities(model.output(hidden), position, jnp.repeat(limits, K))
        V = logp.shape[-1]
        # 2K candidates: were K of them to end, K would still grow.
        candidates = (state.logp[:, :, None] + logp.reshape(B, K, V)).reshape(B, K * V)
        logp, chosen = jax.lax.top_k(candidates, 2 * K)
        parent, token = chosen // V, (chosen % V).astype(jnp.int32)
        grown = _take(state.tokens, parent).at[:, :, position].set(token)
        ends = token == END

        # An end counts where it is among the K best, so that a beam of 1 does not end before greedy search does.
        scores = jnp.where(ends & (jnp.arange(2 * K) < K)[None], logp / length_penalty(position + 1.0, alpha), -jnp.inf)
        scores, best = jax.lax.top_k(jnp.concatenate([state.scores, scores], 1), K)
        ended = _take(jnp.concatenate([state.ended, grown], 1), best)

        logp, alive = jax.lax.top_k(jnp.where(ends, -jnp.inf, logp), K)
        rows = (jnp.arange(B)[:, None] * K + jnp.take_along_axis(parent, alive, 1)).reshape(B * K)
        cache = jax.tree.map(lambda leaf: leaf[rows], cache)
        return State(position + 1, _take(grown, alive), logp, ended, scores, cache)

    empty = jnp.full((B, K, length), PAD, jnp.int32)
    first = jnp.where(jnp.arange(K) == 0, 0.0, -jnp.inf)  # at the start all hypotheses are one
    start = State(jnp.int32(0), empty, jnp.tile(first, (B, 1)), empty, jnp.full((B, K), -jnp.inf), cache)
    last = jax.lax.while_loop(going, step, start)
    return last.ended, last.scores


def _take(hypotheses: Int[Array, "B N T"], index: Int[Array, "B M"]) -> Int[Array, "B M T"]:
    return jnp.take_along_axis(hypotheses, index[:, :, None], 1)
