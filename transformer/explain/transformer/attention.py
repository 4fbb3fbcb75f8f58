"""Multi-head attention in NumPy: each head from its queries to its context, and all heads merged.

Letters: N tokens that attend, M tokens that are attended to, D width of the model, H heads, K width of a head. The
heads are computed one by one, as in a textbook.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from transformer.explain.numbers import agree, array, softmax
from transformer.explain.scores import FORMULAS, Comparison, compare, cut, parameters


@dataclass(frozen=True)
class Head:
    """One head (Vaswani 2017, equation 1 and section 3.2.2)."""

    number: int
    query: Float[np.ndarray, "N K"]
    """Q = X W_Q + b_Q: what each token searches for."""
    key: Float[np.ndarray, "M K"]
    """K = X W_K + b_K: what each token is matched by."""
    value: Float[np.ndarray, "M K"]
    """V = X W_V + b_V: what each token contributes."""
    comparison: Comparison | None
    """How the score compares them; None if it is their inner product."""
    scores: Float[np.ndarray, "N M"]
    """Q K^T, or the product of the comparison."""
    scaled: Float[np.ndarray, "N M"]
    """Q K^T / sqrt(K), or the product times another factor; the scores themselves if the model does not scale."""
    window: Bool[np.ndarray, "N M"] | None
    """Tokens within the window; None if it is global."""
    masked: Float[np.ndarray, "N M"]
    """The scaled scores, with -inf where the mask or the window forbids attention."""
    gain: Float[np.ndarray, "N M"] | None
    """A Gaussian around the window's centre, which multiplies the softmax; None if there is none."""
    weights: Float[np.ndarray, "N M"]
    """The softmax of each row, times the gain."""
    context: Float[np.ndarray, "N K"]
    """weights V: the weighted sum of the values."""


@dataclass(frozen=True)
class Attention:
    """One attention of a layer: all heads, from its input to its output."""

    score: str
    formula: str
    """How the score compares a query q with a key k."""
    pieces: tuple[str, ...]
    """The tokens that are attended to."""
    read: Float[np.ndarray, "N D"]
    """X: the input of the queries, and of keys and values if there is no memory."""
    memory: Float[np.ndarray, "M D"] | None
    """The encoder's output, the input of keys and values; None in self-attention."""
    mask: Bool[np.ndarray, "N M"]
    """Tokens (columns) to which each token (row) may attend, in any window."""
    is_scaled: bool
    """Whether the product is divided by sqrt(K)."""
    heads: tuple[Head, ...]
    """All heads of the layer."""
    output: Float[np.ndarray, "N D"]
    """The concatenated contexts of all heads, times W_O, plus b_O."""
    has_bias: bool
    """Whether the four projections have biases b."""


def attend(
    attention: Any,
    pieces: Sequence[str],
    read: Float[np.ndarray, "N D"],
    memory: Float[np.ndarray, "M D"] | None,
    mask: Bool[np.ndarray, "N M"],
    weights: Any,
    *,
    growing: bool = False,
) -> Attention:
    """An attention on one sentence.

    Args:
        attention: the model's `MultiHead`.
        pieces: the tokens that are attended to.
        read: what the queries are computed from.
        memory: what keys and values are computed from; None: `read`.
        mask: tokens that may be attended to.
        weights: the model's own, [1, H, N, M].
        growing: whether the memory's length is not yet known, as in the decoder's self-attention.

    Raises:
        TransformerError: the computed weights are not the model's.
    """
    length = None if growing else int(mask[0].sum())
    heads = tuple(
        _head(number, attention, read, read if memory is None else memory, mask, length)
        for number in range(attention.query.shape[1])
    )
    for head in heads:
        agree(f"weights of head {head.number}", head.weights, weights[0, head.number])
    output, has_bias = joined(heads) @ array(attention.output).reshape(-1, read.shape[-1]), False
    if attention.output_bias is not None:
        output, has_bias = output + array(attention.output_bias), True
    score = attention.mechanism.score
    is_scaled, formula = score == "scaled_dot", FORMULAS[score]
    return Attention(score, formula, tuple(pieces), read, memory, mask, is_scaled, heads, output, has_bias)


def joined(heads: Sequence[Head]) -> Float[np.ndarray, "N D"]:
    """The contexts of all heads, concatenated."""
    return np.concatenate([head.context for head in heads], -1)


def _head(
    number: int,
    attention: Any,
    read: Float[np.ndarray, "N D"],
    memory: Float[np.ndarray, "M D"],
    mask: Bool[np.ndarray, "N M"],
    length: int | None,
) -> Head:
    query, key, value = (
        side @ array(matrix)[:, number] + (0 if bias is None else array(bias)[number])
        for side, matrix, bias in (
            (read, attention.query, attention.query_bias),
            (memory, attention.key, attention.key_bias),
            (memory, attention.value, attention.value_bias),
        )
    )
    mechanism, position = attention.mechanism, np.arange(len(read))
    compared = compare(mechanism.score, query, key, parameters(mechanism.score_weights, number))
    own = parameters(mechanism.window_weights, number)
    window = cut(mechanism.window, query, position, length, len(memory), mechanism.half_width, own)
    masked = np.where(mask if window is None else mask & window.seen, compared.energies, -np.inf)
    weights = softmax(masked)
    if window is not None and window.gain is not None:
        weights = weights * window.gain
    return Head(
        number,
        query,
        key,
        value,
        None if mechanism.score in ("dot", "scaled_dot") else compared,
        compared.products,
        compared.energies,
        None if window is None else window.seen,
        masked,
        None if window is None else window.gain,
        weights,
        weights @ value,
    )
