"""Every intermediate result of one self-attention layer, from the parameters of a trained Transformer.

Letters: N tokens, D width of the model, H heads, K width of a head. The heads are computed one by one in NumPy, as in a
textbook; the weights are compared with the model's own every time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from transformer.attention import masks
from transformer.errors import TransformerError
from transformer.models.transformer.model import Transformer
from transformer.nn.stack import unstack


@dataclass(frozen=True)
class Head:
    """One head (Vaswani 2017, equation 1 and section 3.2.2)."""

    number: int
    query: Float[np.ndarray, "N K"]
    """Q = X W_Q: what each token searches for."""
    key: Float[np.ndarray, "N K"]
    """K = X W_K: what each token is matched by."""
    value: Float[np.ndarray, "N K"]
    """V = X W_V: what each token contributes."""
    scores: Float[np.ndarray, "N N"]
    """Q K^T."""
    scaled: Float[np.ndarray, "N N"]
    """Q K^T / sqrt(K); the unscaled scores if the model does not scale."""
    masked: Float[np.ndarray, "N N"]
    """The scaled scores, with -inf where the mask forbids attention."""
    weights: Float[np.ndarray, "N N"]
    """The softmax of each row."""
    context: Float[np.ndarray, "N K"]
    """weights V: the weighted sum of the values."""


@dataclass(frozen=True)
class Steps:
    """The self-attention of one layer on one sentence."""

    kind: str
    """encoder or decoder."""
    layer: int
    pieces: tuple[str, ...]
    embedding: Float[np.ndarray, "N D"]
    """Token embeddings, times sqrt(D)."""
    positions: Float[np.ndarray, "N D"]
    """Positional encodings, added to the embeddings."""
    normed: bool
    """Whether the layer normalises its input (pre-norm)."""
    read: Float[np.ndarray, "N D"]
    """X: the input of the attention."""
    mask: Bool[np.ndarray, "N N"]
    """Tokens (columns) to which each token (row) may attend."""
    is_scaled: bool
    heads: tuple[Head, ...]
    """All heads of the layer."""
    output: Float[np.ndarray, "N D"]
    """The concatenated contexts of all heads, times W_O."""


def encoder_steps(model: Transformer, tokens: Sequence[int], pieces: Sequence[str], layer: int) -> Steps:
    """Self-attention of an encoder layer; padding at the end of `tokens` shows the effect of the mask."""
    source = jnp.asarray(tokens, jnp.int32)[None]
    mask = masks.padding(source)
    embedding = model.embed_source(source)
    x = model.source_positions(embedding)
    stack = unstack(model.encoder)
    for before in stack[:layer]:
        x, _ = before(x, mask, None)
    _, weights = stack[layer](x, mask, None)
    square = jnp.broadcast_to(mask[0, 0], (source.shape[1],) * 2)
    return _steps("encoder", stack[layer], layer, pieces, embedding, model.source_positions, x, square, weights)


def decoder_steps(
    model: Transformer, source: Sequence[int], target_in: Sequence[int], pieces: Sequence[str], layer: int
) -> Steps:
    """Masked self-attention of a decoder layer over the target so far."""
    memory = model.encode(jnp.asarray(source, jnp.int32)[None])
    target = jnp.asarray(target_in, jnp.int32)[None]
    future = masks.future(target.shape[1])
    embedding = model.embed_target(target)
    x = model.target_positions(embedding)
    stack = unstack(model.decoder)
    for before in stack[:layer]:
        x, _ = before(x, memory.states, memory.mask[:, None, None], future, None)
    _, (weights, _) = stack[layer](x, memory.states, memory.mask[:, None, None], future, None)
    return _steps("decoder", stack[layer], layer, pieces, embedding, model.target_positions, x, future[0, 0], weights)


def middle_word(pieces: Sequence[str], words: Sequence[int]) -> int:
    """The token nearest to the middle that is a whole word with a letter; the middle one where there is none.

    Args:
        pieces: the tokens as text.
        words: the number of each token's word, -1 for special tokens.
    """
    middle = len(pieces) // 2
    whole = [
        n
        for n, (piece, word) in enumerate(zip(pieces, words, strict=True))
        if word >= 0 and list(words).count(word) == 1 and any(map(str.isalpha, piece))
    ]
    return min(whole, key=lambda n: abs(n - middle), default=middle)


def _steps(
    kind: str,
    block: Any,
    layer: int,
    pieces: Sequence[str],
    embedding: Any,
    positions: Any,
    x: Any,
    mask: Any,
    weights: Any,
) -> Steps:
    residual, attention = block.attention_residual, block.attention
    read = np.asarray(residual.norm(x) if residual.pre else x)[0]
    allowed = np.asarray(mask)
    is_scaled = attention.mechanism.score == "scaled_dot"
    heads = tuple(
        _head(number, attention, read, allowed, scaled=is_scaled) for number in range(attention.query.shape[1])
    )
    expected = np.asarray(weights)[0]
    for head in heads:
        if not np.allclose(head.weights, expected[head.number], atol=1e-4):
            raise TransformerError(f"head {head.number}: the computed weights differ from the model's")
    joined = np.concatenate([head.context for head in heads], -1)
    output = joined @ np.asarray(attention.output[...]).reshape(joined.shape[-1], -1)
    return Steps(
        kind,
        layer,
        tuple(pieces),
        np.asarray(embedding)[0],
        np.asarray(positions(jnp.zeros_like(embedding)))[0],
        residual.pre,
        read,
        allowed,
        is_scaled,
        heads,
        output,
    )


def _head(
    number: int, attention: Any, read: Float[np.ndarray, "N D"], mask: Bool[np.ndarray, "N N"], *, scaled: bool
) -> Head:
    query, key, value = (
        read @ np.asarray(matrix[...])[:, number] for matrix in (attention.query, attention.key, attention.value)
    )
    scores = query @ key.T
    energies = scores / np.sqrt(query.shape[-1]) if scaled else scores
    masked = np.where(mask, energies, -np.inf)
    exponentials = np.exp(masked - masked.max(-1, keepdims=True))
    weights = exponentials / exponentials.sum(-1, keepdims=True)
    return Head(number, query, key, value, scores, energies, masked, weights, weights @ value)
