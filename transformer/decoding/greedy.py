"""Greedy search: the likeliest token at every position."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from transformer.decoding.limits import log_probabilities
from transformer.marks import BEGIN, END, PAD
from transformer.models.contract import Memory, Model


def greedy(
    model: Model, memory: Memory, limits: Int[Array, "B"], length: int
) -> tuple[Int[Array, "B T"], Float[Array, "B"]]:
    """Translate a batch.

    Args:
        model: any model.
        memory: the encoded sources.
        limits: most tokens of each translation, end mark included; the end is forced there.
        length: T, at least the largest limit.

    Returns:
        Tokens up to and with the end mark, then padding; and their log-probability.
    """
    fixed, cache = model.start(memory, length)
    B = limits.shape[0]

    def going(state: tuple[Any, ...]) -> Array:
        position, _, _, _, done, _ = state
        return (position < length) & ~jnp.all(done)

    def step(state: tuple[Any, ...]) -> tuple[Any, ...]:
        position, last, tokens, total, done, cache = state
        hidden, cache, _ = model.step(last, fixed, cache)
        logp = log_probabilities(model.output(hidden), position, limits)
        best = jnp.argmax(logp, -1).astype(jnp.int32)
        total = total + jnp.where(done, 0, jnp.take_along_axis(logp, best[:, None], -1)[:, 0])
        best = jnp.where(done, PAD, best)
        return position + 1, best, tokens.at[:, position].set(best), total, done | (best == END), cache

    start = (
        jnp.int32(0),
        jnp.full(B, BEGIN, jnp.int32),
        jnp.full((B, length), PAD, jnp.int32),
        jnp.zeros(B),
        jnp.zeros(B, bool),
        cache,
    )
    _, _, tokens, total, _, _ = jax.lax.while_loop(going, step, start)
    return tokens, total
