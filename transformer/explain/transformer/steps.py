"""Every intermediate result of one layer of a trained Transformer, on one sentence.

The layers below are the model's own. This layer is computed from its parameters in NumPy, as in a textbook; the
attention weights, the layer's output and the prediction are always compared with the model's own.

Letters: N tokens, D width of the model.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from transformer.attention import masks
from transformer.explain.numbers import agree, array, logits_of
from transformer.explain.transformer.attention import Attention, attend
from transformer.explain.transformer.layer import (
    FeedForward,
    Norm,
    Residual,
    added,
    entered,
    feed_forward,
    normalise,
)
from transformer.explain.words import Names, Prediction, predict
from transformer.nn.stack import unstack


@dataclass(frozen=True)
class Steps:
    """One layer on one sentence."""

    kind: str
    """encoder or decoder."""
    layer: int
    layers: int
    """Number of layers of this side."""
    pieces: tuple[str, ...]
    embedding: Float[np.ndarray, "N D"]
    """Token embeddings, times sqrt(D) where they are scaled."""
    is_scaled: bool
    """Whether the embeddings are multiplied by sqrt(D)."""
    positions: Float[np.ndarray, "N D"]
    """Positional encodings, added to the embeddings."""
    normed: bool
    """Whether the layer normalises the input of each sub-layer (pre-norm), and not its sum (post-norm)."""
    attention: Attention
    """Self-attention."""
    attention_residual: Residual
    cross: Attention | None
    """The decoder's attention to the encoder's output."""
    cross_residual: Residual | None
    feedforward: FeedForward
    feedforward_residual: Residual
    """Its output is that of the layer."""
    final: Norm | None
    """The norm after the last layer of a pre-norm stack; None elsewhere."""
    prediction: Prediction | None
    """The prediction of the next token, after the last layer of a decoder."""


def encoder_steps(encoder: Any, tokens: Sequence[int], pieces: Sequence[str], layer: int) -> Steps:
    """A layer of an encoder; padding at the end of `tokens` shows the effect of the mask.

    Args:
        encoder: a `models.transformer` encoder, or a whole model.
        tokens: the ids of the sentence.
        pieces: the tokens as text.
        layer: from 0.

    Raises:
        TransformerError: a result is not the model's.
    """
    with jax.default_matmul_precision("highest"):
        source = jnp.asarray(tokens, jnp.int32)[None]
        mask = masks.padding(source)
        embedding = encoder.embed_source(source)
        x = encoder.source_positions(embedding)
        stack = unstack(encoder.encoder)
        for before in stack[:layer]:
            x, _ = before(x, mask, None)
        output, weights = stack[layer](x, mask, None)
    block, below, N = stack[layer], array(x[0]), len(tokens)
    entry = entered(block.attention_residual, below)
    read = below if entry is None else entry.output
    attention = attend(block.attention, pieces, read, None, _square(mask, N), weights)
    residual = added(block.attention_residual, below, entry, attention.output)
    feedforward, last = _feed_forward(block, residual.after)
    agree(f"output of layer {layer}", last.after, output[0])
    return Steps(
        "encoder",
        layer,
        len(stack),
        tuple(pieces),
        array(embedding[0]),
        encoder.embed_source.scaled,
        array(encoder.source_positions(jnp.zeros_like(embedding))[0]),
        block.attention_residual.pre,
        attention,
        residual,
        None,
        None,
        feedforward,
        last,
        _final(encoder.encoder_norm, last.after, layer, len(stack)),
        None,
    )


def decoder_steps(
    decoder: Any,
    memory: Any,
    source: Sequence[str],
    target_in: Sequence[int],
    pieces: Sequence[str],
    layer: int,
    names: Names,
) -> Steps:
    """A layer of a decoder over the target so far: masked self-attention, attention to the source, feed-forward.

    Args:
        decoder: a `models.transformer` decoder, or a whole model.
        memory: of one sentence; padding at its end shows the effect of the mask.
        source: the tokens of the memory as text.
        target_in: the ids that the decoder reads, from the begin token on.
        pieces: the same as text.
        layer: from 0.
        names: the target's token ids as text.

    Raises:
        TransformerError: a result is not the model's.
    """
    with jax.default_matmul_precision("highest"):
        target, real = jnp.asarray(target_in, jnp.int32)[None], memory.mask[:, None, None]
        future = masks.future(target.shape[1])
        embedding = decoder.embed_target(target)
        x = decoder.target_positions(embedding)
        stack = unstack(decoder.decoder)
        for before in stack[:layer]:
            x, _ = before(x, memory.states, real, future, None)
        output, (own_weights, cross_weights) = stack[layer](x, memory.states, real, future, None)
        hidden, _ = decoder.decode(memory, target)
        logits = decoder.output(hidden)
    block, below, N = stack[layer], array(x[0]), len(target_in)
    entry = entered(block.attention_residual, below)
    read = below if entry is None else entry.output
    attention = attend(block.attention, pieces, read, None, _square(future, N), own_weights, growing=True)
    residual = added(block.attention_residual, below, entry, attention.output)
    entry = entered(block.cross_residual, residual.after)
    read = residual.after if entry is None else entry.output
    cross = attend(block.cross, source, read, array(memory.states[0]), _square(real, N), cross_weights)
    cross_residual = added(block.cross_residual, residual.after, entry, cross.output)
    feedforward, last = _feed_forward(block, cross_residual.after)
    agree(f"output of layer {layer}", last.after, output[0])
    final, prediction = _final(decoder.decoder_norm, last.after, layer, len(stack)), None
    if layer == len(stack) - 1:
        computed = logits_of(decoder.output, last.after if final is None else final.output)
        agree("logits", computed, logits[0])
        prediction = predict(computed, names)
    return Steps(
        "decoder",
        layer,
        len(stack),
        tuple(pieces),
        array(embedding[0]),
        decoder.embed_target.scaled,
        array(decoder.target_positions(jnp.zeros_like(embedding))[0]),
        block.attention_residual.pre,
        attention,
        residual,
        cross,
        cross_residual,
        feedforward,
        last,
        final,
        prediction,
    )


def _feed_forward(block: Any, x: Float[np.ndarray, "N D"]) -> tuple[FeedForward, Residual]:
    entry = entered(block.feedforward_residual, x)
    feedforward = feed_forward(block.feedforward, x if entry is None else entry.output)
    return feedforward, added(block.feedforward_residual, x, entry, feedforward.output)


def _final(norm: Any, x: Float[np.ndarray, "N D"], layer: int, layers: int) -> Norm | None:
    """The norm after the last layer of a stack."""
    return None if norm is None or layer < layers - 1 else normalise(norm, x)


def _square(mask: Any, rows: int) -> np.ndarray:
    """A mask [1, 1, #N, M] as [N, M]."""
    return np.broadcast_to(np.asarray(mask)[0, 0], (rows, mask.shape[-1]))
