"""Attention weights between tokens, converted to weights between words and to alignment links."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from transformer.alignment.record import Attended
from transformer.errors import UsageError

Links = frozenset[tuple[int, int]]
"""(source word, target word), 0-indexed."""


@dataclass(frozen=True)
class Rule:
    """How links are extracted from weights; the output records it."""

    layer: int | None = None
    """Layer of the attention, from 0; None: the mean over layers."""
    head: int | None = None
    """Head of the attention, from 0; None: the mean over heads."""
    threshold: float | None = None
    """Each target word is linked to all source words with at least this weight; None: to the one with the largest."""
    shift: int = 0
    """Steps by which rows are shifted: 1 aligns a token by the attention of the step that reads it, one after the step
    that predicts it (Chen 2020, "Accurate Word Alignment Induction from Neural Machine Translation")."""

    def describe(self) -> dict[str, Any]:
        """The fields, and a description of the fixed parts of the rule."""
        return asdict(self) | {
            "words": "weights are summed over the pieces of a source word and averaged over those of a target word; "
            "columns of special tokens are dropped and rows rescaled to their sum before; rows of special tokens are "
            "dropped",
            "links": "largest weight, ties broken by position"
            if self.threshold is None
            else "weight at or above the threshold",
        }


def select_heads(
    weights: Float[np.ndarray, "L H T S"], layer: int | None = None, head: int | None = None
) -> Float[np.ndarray, "T S"]:
    """The weights of one layer and head; the mean over layers or heads where none is given.

    Raises:
        UsageError: the attention has no such layer or head.
    """
    for what, number, count in (("layer", layer, len(weights)), ("head", head, weights.shape[1])):
        if number is not None and not 0 <= number < count:
            raise UsageError(f"{what} {number}: the attention has {what}s 0 to {count - 1}")
    layers = weights if layer is None else weights[layer : layer + 1]
    heads = layers if head is None else layers[:, head : head + 1]
    return heads.mean((0, 1))


def by_word(
    weights: Float[np.ndarray, "*B T S"], target: Sequence[int], source: Sequence[int]
) -> Float[np.ndarray, "*B U W"]:
    """Weights between words: summed over the tokens of a source word, averaged over those of a target word.

    Special tokens are dropped, and each row is rescaled to its former sum. A row with weight on special tokens only is
    zero.

    Args:
        weights: between tokens, of any number of layers and heads.
        target: the word of each row, numbered from 0 in order; -1 for a special token.
        source: the word of each column, likewise.
    """
    rows, columns = (_membership(spans) for spans in (target, source))
    total = weights.sum(-1, keepdims=True)
    summed = weights @ columns
    kept = summed.sum(-1, keepdims=True)
    summed = summed * np.divide(total, kept, out=np.zeros_like(kept), where=kept > 0)
    mean = rows / np.maximum(rows.sum(0, keepdims=True), 1)
    between_words: np.ndarray = np.swapaxes(mean, 0, 1) @ summed
    return between_words


def _membership(spans: Sequence[int]) -> Float[np.ndarray, "N W"]:
    words = np.asarray(spans, np.int64)
    return (words[:, None] == np.arange(words.max(initial=-1) + 1)[None]).astype(np.float32)


def align(attended: Attended, rule: Rule) -> tuple[Float[np.ndarray, "U W"], Links]:
    """The weights between the words of a pair under a rule, and the links."""
    selected = select_heads(attended.matrix("cross"), rule.layer, rule.head)
    if rule.shift:
        last = len(selected) - 1
        selected = selected[np.clip(np.arange(len(selected)) + rule.shift, 0, last)]
    weights = by_word(selected, attended.target.spans, attended.source.spans)
    return weights, links(weights, rule.threshold)


def links(weights: Float[np.ndarray, "U W"], threshold: float | None = None) -> Links:
    """Links of each target word to the source word with the largest weight, or to all at or above a threshold.

    A target word without any weight has no link. Ties are broken by position.
    """
    if threshold is None:
        return frozenset((int(row.argmax()), t) for t, row in enumerate(weights) if row.any())
    return frozenset((int(s), int(t)) for t, s in zip(*np.nonzero(weights >= threshold), strict=True))
