"""Beam search that stops early only when no unfinished hypothesis can still win."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from transformer.decoding.candidates import topk
from transformer.decoding.config import Decoding
from transformer.decoding.hypotheses import Finished, Hypotheses, score, take, upper_bound, write_at
from transformer.decoding.limits import Limits
from transformer.special_tokens import EOS


def extend(
    old: Hypotheses,
    logits: Float[Array, "B K V"],
    attention: Float[Array, "B K S"] | None,
    limits: Limits,
    settings: Decoding,
) -> tuple[Hypotheses, Int[Array, "B K"]]:
    """Extend a beam by one token: keep the K most likely unfinished hypotheses and the K best finished ones.

    A sentence is done when its most likely unfinished hypothesis, finished at the maximum length without further
    cost, could not beat the worst of the `n_best` finished hypotheses. Ties are broken by position.

    Returns:
        the hypotheses, and the parent of each unfinished one among the old ones.
    """
    K = logits.shape[1]
    # 2K candidates: if K of them end, K remain.
    total, parent, token = topk(old.logp, logits, old.position, limits, 2 * K)
    tokens = write_at(take(old.tokens, parent), old.position, token)
    history = None
    if attention is not None and old.attention is not None:
        history = take(write_at(old.attention, old.position, attention), parent)
    ends = token == EOS

    # An EOS token counts only among the K best candidates, so that a beam of 1 ends exactly where greedy search does.
    counts = ends & (jnp.arange(2 * K) < K)[None] & ~old.done[:, None]
    scores = jnp.where(counts, score(total, old.position, history, old.mask, settings), -jnp.inf)
    new = Finished(tokens, total, scores, history)
    both = jax.tree.map(lambda a, b: jnp.concatenate([a, b], 1), old.finished, new)
    _, best = jax.lax.top_k(both.scores, K)
    finished = jax.tree.map(lambda leaf: take(leaf, best), both)

    total, unfinished = jax.lax.top_k(jnp.where(ends, -jnp.inf, total), K)
    can_improve = upper_bound(total, limits, settings) > finished.scores[:, settings.n_best - 1]
    position = old.position + ~old.done
    hypotheses = Hypotheses(
        position,
        old.done | ~can_improve | (position >= limits.max_length),
        old.seed,
        old.mask,
        take(tokens, unfinished),
        total,
        None if history is None else take(history, unfinished),
        finished,
    )
    return hypotheses, jnp.take_along_axis(parent, unfinished, 1)
