"""Beam search with a stop that is provably safe."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from transformer.decoding.candidates import likeliest
from transformer.decoding.config import Decoding
from transformer.decoding.hypotheses import Ended, Hypotheses, bound, put, score, take
from transformer.decoding.limits import Limits
from transformer.special_tokens import EOS


def grow(
    old: Hypotheses,
    logits: Float[Array, "B K V"],
    looked: Float[Array, "B K S"] | None,
    limits: Limits,
    settings: Decoding,
) -> tuple[Hypotheses, Int[Array, "B K"]]:
    """One token more: the K likeliest continuations go on, ends are kept with the K best that have ended.

    A sentence is done when not even its likeliest growing hypothesis, ended at its limit at no further cost, could
    beat the worst of the `n_best` ended ones that are asked for. Among equals the one with the lower place wins.

    Returns:
        the hypotheses, and which of the old ones each of the growing comes from.
    """
    K = logits.shape[1]
    # 2K candidates: were K of them to end, K would still grow.
    total, parent, token = likeliest(old.logp, logits, old.position, limits, 2 * K)
    tokens = put(take(old.tokens, parent), old.position, token)
    seen = None
    if looked is not None and old.looked is not None:
        seen = take(put(old.looked, old.position, looked), parent)
    ends = token == EOS

    # An end counts where it is among the K best, so that a beam of 1 does not end before greedy search does.
    counts = ends & (jnp.arange(2 * K) < K)[None] & ~old.done[:, None]
    scores = jnp.where(counts, score(total, old.position, seen, old.mask, settings), -jnp.inf)
    new = Ended(tokens, total, scores, seen)
    both = jax.tree.map(lambda a, b: jnp.concatenate([a, b], 1), old.ended, new)
    _, best = jax.lax.top_k(both.scores, K)
    ended = jax.tree.map(lambda leaf: take(leaf, best), both)

    total, alive = jax.lax.top_k(jnp.where(ends, -jnp.inf, total), K)
    hope = bound(total, limits, settings) > ended.scores[:, settings.n_best - 1]
    position = old.position + ~old.done
    hypotheses = Hypotheses(
        position,
        old.done | ~hope | (position >= limits.most),
        old.seed,
        old.mask,
        take(tokens, alive),
        total,
        None if seen is None else take(seen, alive),
        ended,
    )
    return hypotheses, jnp.take_along_axis(parent, alive, 1)
