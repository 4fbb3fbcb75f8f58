"""Translations that grow one by one, without a beam: drawn at random, or greedily the likeliest token each time."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from transformer.decoding.candidates import in_blocks, likeliest
from transformer.decoding.config import Decoding
from transformer.decoding.hypotheses import Ended, Hypotheses, put, score
from transformer.decoding.limits import Limits, log_probabilities
from transformer.special_tokens import EOS, PAD


def grow(
    old: Hypotheses,
    logits: Float[Array, "B K V"],
    looked: Float[Array, "B K S"] | None,
    limits: Limits,
    settings: Decoding,
) -> tuple[Hypotheses, None]:
    """One token more for each of the K translations that has not ended; none takes another's place."""
    if settings.samples:
        logp = log_probabilities(logits, old.position, limits)
        token = draw(logp, old.seed, old.position, settings)
        total = old.logp + jnp.take_along_axis(logp, token[:, :, None], 2)[:, :, 0]
    else:
        total, _, token = likeliest(old.logp, logits, old.position, limits, 1)
    grows = (old.logp > -jnp.inf) & ~old.done[:, None]
    tokens = put(old.tokens, old.position, jnp.where(grows, token, PAD).astype(jnp.int32))
    seen = None
    if looked is not None and old.looked is not None:
        seen = put(old.looked, old.position, jnp.where(grows[:, :, None], looked, 0.0))
    ends = grows & (token == EOS)
    ended = Ended(
        tokens,
        jnp.where(ends, total, old.ended.logp),
        jnp.where(ends, score(total, old.position, seen, old.mask, settings), old.ended.scores),
        seen,
    )
    done = old.done | jnp.all(ended.scores > -jnp.inf, -1)
    still = jnp.where(grows & ~ends, total, -jnp.inf)
    return Hypotheses(old.position + ~old.done, done, old.seed, old.mask, tokens, still, seen, ended), None


def draw(
    logp: Float[Array, "B K V"], seed: Int[Array, "B"], position: Int[Array, "B"], settings: Decoding
) -> Int[Array, "B K"]:
    """A token each, from the tempered and truncated distribution.

    What is drawn depends on the sentence's seed, the number of the sample and the position, not on the batch.
    """

    def one(seed: Array, sample: Array, position: Array) -> Array:
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), sample), position)
        return jax.random.uniform(key)

    sample = jnp.arange(logp.shape[1])
    uniform = jax.vmap(jax.vmap(one, (None, 0, None)), (0, None, 0))(seed, sample, position)
    logits = truncate(logp / settings.temperature, settings.top_k, settings.top_p, settings.min_p)
    return pick(jnp.exp(logits - logits.max(-1, keepdims=True)), uniform)


def pick(weights: Float[Array, "*B V"], uniform: Float[Array, "*B"]) -> Int[Array, "*B"]:
    """The token at a share `uniform` of the sum of the weights, one of weight zero never.

    One random number a row in place of one a token; first the block is found, then the token in it.
    """
    blocks = in_blocks(weights, 0.0)
    sums = blocks.sum(-1)
    block, rest = _at(sums, uniform * sums.sum(-1))
    inside = jnp.take_along_axis(blocks, block[..., None, None], -2)[..., 0, :]
    place, _ = _at(inside, rest)
    return block * blocks.shape[-1] + place


def _at(weights: Float[Array, "*B N"], reach: Float[Array, "*B"]) -> tuple[Int[Array, "*B"], Float[Array, "*B"]]:
    """The first place where the sum up to it is beyond `reach`, and what is left of `reach` there."""
    number = jnp.broadcast_to(jnp.arange(weights.shape[-1]), weights.shape)
    upto, there = jnp.cumsum(weights, -1), weights > 0
    beyond = (upto <= reach[..., None]).sum(-1, keepdims=True)
    # Rounding may point to a weight of zero, or beyond the last.
    last = jnp.where(there, number, 0).max(-1, keepdims=True)
    place = jnp.where(there & (number >= jnp.minimum(beyond, last)), number, last).min(-1)
    return place, reach - jnp.take_along_axis(upto - weights, place[..., None], -1)[..., 0]


def truncate(logits: Float[Array, "*B V"], top_k: int, top_p: float, min_p: float) -> Float[Array, "*B V"]:
    """Unlikely tokens put out of the question (-inf); the likeliest always stays, and equals stay together.

    Args:
        logits: tempered.
        top_k: keep the k likeliest (Fan 2018); 0 keeps all.
        top_p: keep the likeliest that together have this probability (the nucleus; Holtzman 2020); 1 keeps all.
        min_p: keep those with at least this share of the likeliest one's probability (Nguyen 2024); 0 keeps all.
    """
    kept = logits
    if top_k:
        kept = jnp.where(logits >= jax.lax.top_k(logits, min(top_k, logits.shape[-1]))[0][..., -1:], kept, -jnp.inf)
    if top_p < 1:
        probabilities = jax.nn.softmax(kept)
        kept = jnp.where(probabilities >= _nucleus(probabilities, top_p)[..., None], kept, -jnp.inf)
    if min_p > 0:
        kept = jnp.where(kept >= kept.max(-1, keepdims=True) + jnp.log(min_p), kept, -jnp.inf)
    return kept


def _nucleus(probabilities: Float[Array, "*B V"], mass: float) -> Float[Array, "*B"]:
    """The greatest threshold such that what reaches it has at least the mass: no sorting of the vocabulary.

    Non-negative floats are ordered as their bits are, so that 31 halvings find it exactly.
    """

    def enough(bits: Int[Array, "*B"]) -> Array:
        threshold = jax.lax.bitcast_convert_type(bits, jnp.float32)[..., None]
        return jnp.sum(jnp.where(probabilities >= threshold, probabilities, 0.0), -1) >= mass

    def halve(_: Array, bounds: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bounds  # `low` has enough, `high` has not
        middle = low + (high - low) // 2
        fits = enough(middle)
        return jnp.where(fits, middle, low), jnp.where(fits, high, middle)

    shape = probabilities.shape[:-1]
    two = jax.lax.bitcast_convert_type(jnp.float32(2.0), jnp.int32)
    low, _ = jax.lax.fori_loop(0, 31, halve, (jnp.zeros(shape, jnp.int32), jnp.full(shape, two)))
    return jax.lax.bitcast_convert_type(low, jnp.float32)
