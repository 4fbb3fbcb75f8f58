"""The state of a search over a batch of sentences, and its steps, for any model.

Letters: B sentences, K hypotheses of each, T target length, S source length, V vocabulary, R = B x K rows of a model.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from transformer.decoding import beam, hypotheses, sampling
from transformer.decoding.config import Decoding
from transformer.decoding.hypotheses import Hypotheses
from transformer.decoding.limits import Limits
from transformer.models.interface import Cache, CrossCache, Model
from transformer.special_tokens import BOS


class State(NamedTuple):
    """Sentences in translation, each at its own position.

    B is the first axis of every leaf, so that a new sentence can replace one that is done.
    """

    limits: Limits
    hypotheses: Hypotheses
    fixed: CrossCache
    cache: Cache


def init_state(
    model: Model,
    source: Int[Array, "B S"],
    limits: Limits,
    seed: Int[Array, "B"],
    length: int,
    settings: Decoding,
) -> State:
    """Encode the sources; all hypotheses are empty.

    Args:
        model: any model.
        source: padded sources.
        limits: bounds on the translations.
        seed: random seed of each sentence's samples.
        length: T, the capacity of the arrays in tokens; `limits.max_length` may exceed it, see `advance`.
        settings: of the search.
    """
    B, K = source.shape[0], settings.num_hypotheses
    memory = model.encode(source)
    fixed, cache = model.init_cache(memory, length, K, independent=settings.independent)
    mask = memory.mask if settings.needs_attention else None
    return State(limits, hypotheses.empty(B, K, length, seed, mask, independent=settings.independent), fixed, cache)


def step(model: Model, state: State, settings: Decoding) -> State:
    """Extend every hypothesis of every unfinished sentence by one token."""
    old = state.hypotheses
    B, K, _ = old.tokens.shape
    previous = jnp.maximum(old.position - 1, 0)[:, None, None]
    last = jnp.take_along_axis(old.tokens, previous, 2)[:, :, 0]
    last = jnp.where((old.position == 0)[:, None], BOS, last)
    hidden, cache, weights = model.step(last.reshape(B * K), state.fixed, state.cache, weights=settings.needs_attention)
    logits = model.output(hidden).reshape(B, K, -1)
    attention = None
    if weights is not None and weights.cross is not None:
        attention = weights.cross.mean((1, 2)).reshape(B, K, -1)  # over layers and heads
    extend = sampling.extend if settings.independent else beam.extend
    extended, parent = extend(old, logits, attention, state.limits, settings)
    if parent is not None:
        cache = model.reorder(cache, parent)
    return State(state.limits, extended, state.fixed, cache)


def advance(model: Model, state: State, target: Int[Array, ""], settings: Decoding) -> State:
    """Step until at least `target` sentences are done, or an unfinished one fills the capacity of T tokens."""
    model.prepare_for_decoding()

    def running(state: State) -> Bool[Array, ""]:
        current = state.hypotheses
        fits = jnp.all(current.done | (current.position < current.tokens.shape[2]))
        return (current.done.sum() < target) & fits

    return jax.lax.while_loop(running, lambda state: step(model, state, settings), state)
