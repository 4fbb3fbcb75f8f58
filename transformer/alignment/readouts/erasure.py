"""How much a target token's probability drops without a source word.

Li et al. 2016, "Understanding Neural Networks through Representation Erasure" (equation 1, with a difference of
log-probabilities), and Li et al. 2019, "On the Word Alignment from Neural Machine Translation" (section 4.2, prediction
difference). A word is erased with all its pieces; its drop is divided equally among them, so that the sum over its
pieces is the word's.
"""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from transformer.nn.losses import cross_entropy

CHUNK = 512
"""Tokens whose logits are held at once."""


class Falls(NamedTuple):
    """With each source token erased."""

    probability: Float[Array, "B T S"]
    log_probability: Float[Array, "B T S"]
    """In nats."""


def erase(
    how: Literal["zero", "leave out"],
    model: Any,
    source: Int[Array, "B S"],
    units: Int[Array, "B S"],
    target_in: Int[Array, "B T"],
    target_out: Int[Array, "B T"],
) -> Falls:
    """The drop for each source token.

    Args:
        how: set the word's embeddings to zero and keep its positions, or delete it from the sentence.
        model: predicts.
        source: token ids.
        units: the number of each token's word, from 0 in order; the EOS token counts as a word, padding has -1.
        target_in: as `models.interface.Decoder.decode` reads it.
        target_out: tokens that are predicted; PAD has no drop.
    """

    def predicted(source: Array, embedded: Array | None) -> Array:
        memory = model.encode(source) if embedded is None else model.encode(source, embedded=embedded)
        states = model.decode(memory, target_in)[0]
        return -cross_entropy(model.output, states, target_out, chunk=CHUNK)[1]

    whole = predicted(source, None)
    embedded = model.embed(source) if how == "zero" else None

    def without(unit: Array, falls: Falls) -> Falls:
        erased = units == unit
        if embedded is not None:
            new = predicted(source, jnp.where(erased[..., None], 0, embedded))
        else:
            new = predicted(leave_out(source, erased), None)
        share = erased / jnp.maximum(erased.sum(1, keepdims=True), 1)
        of_word = Falls(jnp.exp(whole) - jnp.exp(new), whole - new)
        return jax.tree.map(lambda every, fall: every + fall[:, :, None] * share[:, None], falls, of_word)

    zeros = jnp.zeros((*target_in.shape, source.shape[1]))
    falls: Falls = jax.lax.fori_loop(0, units.max() + 1, without, Falls(zeros, zeros))
    return falls


def leave_out(source: Int[Array, "B S"], erased: Array) -> Int[Array, "B S"]:
    """The sentences without the erased tokens; those after them move up, and padding follows."""
    order = jnp.argsort(erased | (source == 0), axis=1, stable=True)
    return jnp.take_along_axis(jnp.where(erased, 0, source), order, 1)
