"""The most likely continuations of a beam, computed with as few passes over the vocabulary as possible.

On a CPU a top-k over all continuations, and every array of their size, costs as much as the decoder itself. The logits
are therefore read twice: for the maximum of each block of tokens, and for the sum that normalises them. The most likely
continuations lie in the blocks with the largest maxima, and only those blocks are searched.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from transformer.decoding.limits import Limits, allowed, forced
from transformer.special_tokens import PAD

BLOCK_SIZES = range(48, 129)
"""Candidate sizes of a block; the largest that divides the vocabulary is used, so that nothing is copied."""
DEFAULT_BLOCK_SIZE = 64
"""Used when none of them divides the vocabulary."""


def in_blocks(values: Float[Array, "*B V"], fill: float) -> Float[Array, "*B N size"]:
    """Split the last axis into blocks; the last block is padded with `fill`."""
    *rows, V = values.shape
    size = next((size for size in reversed(BLOCK_SIZES) if V % size == 0), DEFAULT_BLOCK_SIZE)
    if V % size:
        values = jnp.pad(values, [(0, 0)] * len(rows) + [(0, -V % size)], constant_values=fill)
    return values.reshape(*rows, -1, size)


def topk(
    logp: Float[Array, "B K"],
    logits: Float[Array, "B K V"],
    position: Int[Array, "B"],
    limits: Limits,
    count: int,
) -> tuple[Float[Array, "B N"], Int[Array, "B N"], Int[Array, "B N"]]:
    """The `count` most likely allowed continuations of each sentence's K hypotheses, in descending order.

    Equals `jax.lax.top_k` over all of logp + log_probabilities(logits), up to rounding. Ties are broken by block and
    position. If fewer continuations are allowed, the rest are -inf.

    Args:
        logp: log-probabilities of the hypotheses.
        logits: of the next token.
        position: of the next token.
        limits: bounds on the translations.
        count: N, at least K and at most K V.

    Returns:
        log-probabilities, the index of the hypothesis that each continues, and its token.
    """
    B, K, V = logits.shape
    logits = logits.astype(jnp.float32)
    blocks = in_blocks(logits, -jnp.inf)
    size = blocks.shape[-1]
    peaks = blocks.max(-1)
    top = peaks.max(-1, keepdims=True)
    base = logp - top[:, :, 0] - jnp.log(jnp.exp(logits - top).sum(-1))

    # Special tokens lie in the first block, so only its maximum must skip what is not allowed. A forced token makes its
    # own block the only candidate.
    valid = allowed(jnp.arange(size)[None], position, limits)[:, None]
    first = jnp.where(valid, blocks[:, :, 0], -jnp.inf).max(-1, keepdims=True)
    peaks = jnp.concatenate([first, peaks[:, :, 1:]], -1)
    token = forced(position, limits)[:, None, None]
    forced_logit = jnp.take_along_axis(logits, jnp.broadcast_to(token, (B, K, 1)), 2)
    forced_peaks = jnp.where(token // size == jnp.arange(peaks.shape[2])[None, None], forced_logit, -jnp.inf)
    peaks = jnp.where(token == PAD, peaks, forced_peaks) + base[:, :, None]

    _, best = jax.lax.top_k(peaks.reshape(B, -1), min(count, peaks[0].size))
    best = jnp.sort(best, -1)
    parent, block = best // blocks.shape[2], best % blocks.shape[2]
    inside = blocks[jnp.arange(B)[:, None], parent, block]
    tokens = block[:, :, None] * size + jnp.arange(size)[None, None]
    valid = allowed(tokens.reshape(B, -1), position, limits).reshape(tokens.shape) & (tokens < V)
    total = jnp.where(valid, inside + jnp.take_along_axis(base, parent, 1)[:, :, None], -jnp.inf)
    values, index = jax.lax.top_k(total.reshape(B, -1), count)
    chosen = jnp.take_along_axis(tokens.reshape(B, -1), index, 1)
    return values, jnp.take_along_axis(parent, index // size, 1), chosen.astype(jnp.int32)
