"""The state of a batch of sentences in the middle of a search, and one step further; no model is known here.

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
    """Sentences being translated, each at its own position. Every leaf leads with B, so that a sentence can take the
    place of another one that is done."""

    limits: Limits
    hypotheses: Hypotheses
    fixed: CrossCache
    cache: Cache


def begin(
    model: Model,
    source: Int[Array, "B S"],
    limits: Limits,
    seed: Int[Array, "B"],
    length: int,
    settings: Decoding,
) -> State:
    """Sentences read, and nothing said yet.

    Args:
        model: any model.
        source: padded sources.
        limits: bounds on the translations.
        seed: of each sentence's own sampling.
        length: T, room for so many tokens; `most` may be beyond it, see `going`.
        settings: of the search.
    """
    B, K = source.shape[0], settings.rows
    memory = model.encode(source)
    fixed, cache = model.init_cache(memory, length, K, independent=settings.alone)
    mask = memory.mask if settings.looks else None
    nothing = hypotheses.empty(B, K, length, seed, mask, alike=not settings.alone)
    return State(limits, nothing, fixed, cache)


def step(model: Model, state: State, settings: Decoding) -> State:
    """One token more for every hypothesis of every sentence that is not done."""
    known = state.hypotheses
    B, K, _ = known.tokens.shape
    before = jnp.maximum(known.position - 1, 0)[:, None, None]
    last = jnp.take_along_axis(known.tokens, before, 2)[:, :, 0]
    last = jnp.where((known.position == 0)[:, None], BOS, last)
    hidden, cache, attention = model.step(last.reshape(B * K), state.fixed, state.cache, weights=settings.looks)
    logits = model.output(hidden).reshape(B, K, -1)
    looked = None
    if attention is not None and attention.cross is not None:
        looked = attention.cross.mean((1, 2)).reshape(B, K, -1)  # over layers and heads
    grown, parent = (sampling if settings.alone else beam).grow(known, logits, looked, state.limits, settings)
    if parent is not None:
        cache = model.reorder(cache, parent)
    return State(state.limits, grown, state.fixed, cache)


def advance(model: Model, state: State, enough: Int[Array, ""], settings: Decoding) -> State:
    """Go on until at least `enough` sentences are done, or one that is not has filled its room of T tokens."""

    model.prepare_for_decoding()

    def going(state: State) -> Bool[Array, ""]:
        known = state.hypotheses
        room = jnp.all(known.done | (known.position < known.tokens.shape[2]))
        return (known.done.sum() < enough) & room

    return jax.lax.while_loop(going, lambda state: step(model, state, settings), state)
