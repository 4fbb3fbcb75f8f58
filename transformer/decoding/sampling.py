"""Independent hypotheses: sampling at random, and greedy search."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from transformer.decoding.candidates import in_blocks, topk
from transformer.decoding.config import Decoding
from transformer.decoding.hypotheses import Finished, Hypotheses, score, write_at
from transformer.decoding.limits import Limits, log_probabilities
from transformer.special_tokens import EOS, PAD


def extend(
    old: Hypotheses,
    logits: Float[Array, "B K V"],
    attention: Float[Array, "B K S"] | None,
    limits: Limits,
    settings: Decoding,
) -> tuple[Hypotheses, None]:
    """Extend each of the K unfinished hypotheses by one token; the order of hypotheses stays."""
    if settings.samples:
        logp = log_probabilities(logits, old.position, limits)
        token = sample(logp, old.seed, old.position, settings)
        total = old.logp + jnp.take_along_axis(logp, token[:, :, None], 2)[:, :, 0]
    else:
        total, _, token = topk(old.logp, logits, old.position, limits, 1)
    unfinished = (old.logp > -jnp.inf) & ~old.done[:, None]
    tokens = write_at(old.tokens, old.position, jnp.where(unfinished, token, PAD).astype(jnp.int32))
    history = None
    if attention is not None and old.attention is not None:
        history = write_at(old.attention, old.position, jnp.where(unfinished[:, :, None], attention, 0.0))
    ends = unfinished & (token == EOS)
    finished = Finished(
        tokens,
        jnp.where(ends, total, old.finished.logp),
        jnp.where(ends, score(total, old.position, history, old.mask, settings), old.finished.scores),
        history,
    )
    done = old.done | jnp.all(finished.scores > -jnp.inf, -1)
    logp = jnp.where(unfinished & ~ends, total, -jnp.inf)
    return Hypotheses(old.position + ~old.done, done, old.seed, old.mask, tokens, logp, history, finished), None


def sample(
    logp: Float[Array, "B K V"], seed: Int[Array, "B"], position: Int[Array, "B"], settings: Decoding
) -> Int[Array, "B K"]:
    """Sample one token for each hypothesis from the distribution after temperature and truncation.

    Samples depend only on the sentence's seed, the index of the sample and the position, not on the batch.
    """

    def random(seed: Array, index: Array, position: Array) -> Array:
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), index), position)
        return jax.random.uniform(key)

    index = jnp.arange(logp.shape[1])
    uniform = jax.vmap(jax.vmap(random, (None, 0, None)), (0, None, 0))(seed, index, position)
    logits = truncate(logp / settings.temperature, settings.top_k, settings.top_p, settings.min_p)
    return inverse_transform(jnp.exp(logits - logits.max(-1, keepdims=True)), uniform)


def inverse_transform(weights: Float[Array, "*B V"], uniform: Float[Array, "*B"]) -> Int[Array, "*B"]:
    """Inverse transform sampling: the first token whose cumulative weight exceeds `uniform` times the total weight.

    Tokens of weight zero are never returned. One random number is needed for each row, not for each token. The block is
    searched first, then the token within it.
    """
    blocks = in_blocks(weights, 0.0)
    sums = blocks.sum(-1)
    block, rest = _search_cumulative(sums, uniform * sums.sum(-1))
    inside = jnp.take_along_axis(blocks, block[..., None, None], -2)[..., 0, :]
    index, _ = _search_cumulative(inside, rest)
    return block * blocks.shape[-1] + index


def _search_cumulative(
    weights: Float[Array, "*B N"], threshold: Float[Array, "*B"]
) -> tuple[Int[Array, "*B"], Float[Array, "*B"]]:
    """The first index whose cumulative weight exceeds `threshold`, and `threshold` less the weight before the index."""
    number = jnp.broadcast_to(jnp.arange(weights.shape[-1]), weights.shape)
    cumulative, positive = jnp.cumsum(weights, -1), weights > 0
    exceeds = (cumulative <= threshold[..., None]).sum(-1, keepdims=True)
    # Rounding may give the index of a zero weight, or one beyond the end.
    last = jnp.where(positive, number, 0).max(-1, keepdims=True)
    index = jnp.where(positive & (number >= jnp.minimum(exceeds, last)), number, last).min(-1)
    return index, threshold - jnp.take_along_axis(cumulative - weights, index[..., None], -1)[..., 0]


def truncate(logits: Float[Array, "*B V"], top_k: int, top_p: float, min_p: float) -> Float[Array, "*B V"]:
    """Mask unlikely tokens with -inf. The most likely token is always kept; tied tokens are kept or masked together.

    Args:
        logits: divided by the temperature.
        top_k: keep the k most likely tokens (Fan 2018); 0 keeps all.
        top_p: keep the nucleus, the most likely tokens with this total probability (Holtzman 2020); 1 keeps all.
        min_p: keep tokens with at least this fraction of the largest probability (Nguyen 2024); 0 keeps all.
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
    """The largest threshold at which the probabilities at or above it sum to at least `mass`, without a sort.

    Non-negative floats are ordered as their bits are, so a bisection of 31 steps is exact.
    """

    def reaches_mass(bits: Int[Array, "*B"]) -> Array:
        threshold = jax.lax.bitcast_convert_type(bits, jnp.float32)[..., None]
        return jnp.sum(jnp.where(probabilities >= threshold, probabilities, 0.0), -1) >= mass

    def bisect(_: Array, bounds: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bounds  # `low` reaches the mass, `high` does not
        middle = low + (high - low) // 2
        fits = reaches_mass(middle)
        return jnp.where(fits, middle, low), jnp.where(fits, high, middle)

    shape = probabilities.shape[:-1]
    two = jax.lax.bitcast_convert_type(jnp.float32(2.0), jnp.int32)
    low, _ = jax.lax.fori_loop(0, 31, bisect, (jnp.zeros(shape, jnp.int32), jnp.full(shape, two)))
    return jax.lax.bitcast_convert_type(low, jnp.float32)
