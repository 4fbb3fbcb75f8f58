"""The likeliest continuations of a beam, without walking through the vocabulary more often than needed.

On a CPU a search over all continuations, and every array as large as them, costs as much as the decoder itself. So
logits are read twice: for the largest of each block of tokens, and for the sum that normalises them. The likeliest
continuations lie in the blocks with the largest maxima, and only those are looked into.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from transformer.decoding.limits import Limits, allowed, forced
from transformer.special_tokens import PAD

BLOCKS = range(48, 129)
"""Sizes of a block to choose from: the largest that divides the vocabulary, so that nothing is copied."""
BLOCK = 64
"""Where none does."""


def in_blocks(values: Float[Array, "*B V"], fill: float) -> Float[Array, "*B N size"]:
    """The last axis in blocks; the last one is filled up."""
    *rows, V = values.shape
    size = next((size for size in reversed(BLOCKS) if V % size == 0), BLOCK)
    if V % size:
        values = jnp.pad(values, [(0, 0)] * len(rows) + [(0, -V % size)], constant_values=fill)
    return values.reshape(*rows, -1, size)


def likeliest(
    before: Float[Array, "B K"],
    logits: Float[Array, "B K V"],
    position: Int[Array, "B"],
    limits: Limits,
    count: int,
) -> tuple[Float[Array, "B N"], Int[Array, "B N"], Int[Array, "B N"]]:
    """The `count` likeliest continuations of a sentence's K hypotheses that are allowed, the likeliest first.

    The same as `jax.lax.top_k` over all of before + log_probabilities(logits), up to rounding; equals come in the order
    of their blocks. Where fewer are allowed the rest are -inf.

    Args:
        before: log-probabilities of the hypotheses.
        logits: of the next token.
        position: of the next token.
        limits: bounds on the translations.
        count: N, at least K and at most K V.

    Returns:
        log-probabilities, which hypothesis each goes on from, and its token.
    """
    B, K, V = logits.shape
    logits = logits.astype(jnp.float32)
    blocks = in_blocks(logits, -jnp.inf)
    size = blocks.shape[-1]
    peaks = blocks.max(-1)
    top = peaks.max(-1, keepdims=True)
    base = before - top[:, :, 0] - jnp.log(jnp.exp(logits - top).sum(-1))

    # What may not be said is left out of its block's maximum; where one token is forced, only its block has any.
    may = allowed(jnp.arange(size)[None], position, limits)[:, None]
    first = jnp.where(may, blocks[:, :, 0], -jnp.inf).max(-1, keepdims=True)
    peaks = jnp.concatenate([first, peaks[:, :, 1:]], -1)
    token = forced(position, limits)[:, None, None]
    own = jnp.take_along_axis(logits, jnp.broadcast_to(token, (B, K, 1)), 2)
    only = jnp.where(token // size == jnp.arange(peaks.shape[2])[None, None], own, -jnp.inf)
    peaks = jnp.where(token == PAD, peaks, only) + base[:, :, None]

    _, near = jax.lax.top_k(peaks.reshape(B, -1), min(count, peaks[0].size))
    near = jnp.sort(near, -1)
    parent, block = near // blocks.shape[2], near % blocks.shape[2]
    inside = blocks[jnp.arange(B)[:, None], parent, block]
    tokens = block[:, :, None] * size + jnp.arange(size)[None, None]
    may = allowed(tokens.reshape(B, -1), position, limits).reshape(tokens.shape) & (tokens < V)
    total = jnp.where(may, inside + jnp.take_along_axis(base, parent, 1)[:, :, None], -jnp.inf)
    found, where = jax.lax.top_k(total.reshape(B, -1), count)
    chosen = jnp.take_along_axis(tokens.reshape(B, -1), where, 1)
    return found, jnp.take_along_axis(parent, where // size, 1), chosen.astype(jnp.int32)
