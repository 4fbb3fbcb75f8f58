"""Attention weights between tokens, or another read-out, converted to weights between words and to alignment links."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from transformer.alignment.record import Attended
from transformer.errors import UsageError

Pieces = Literal["sum", "mean", "max", "any"]
End = Literal["dropped", "null", "sink"]
Links = frozenset[tuple[int, int]]
"""(source word, target word), 0-indexed."""


@dataclass(frozen=True)
class Rule:
    """How links are extracted from a matrix between tokens; the output records it."""

    layer: int | None = None
    """Layer of the attention, from 0; None: the mean over layers."""
    head: int | None = None
    """Head of the attention, from 0; None: the mean over heads."""
    threshold: float | None = None
    """Each target word is linked to all source words with at least this weight, 0 being any weight above zero; None: to
    the one with the largest."""
    shift: int = 0
    """Steps by which rows are shifted: 1 aligns a token by the attention of the step that reads it, one after the step
    that predicts it (Chen 2020, "Accurate Word Alignment Induction from Neural Machine Translation")."""
    by: str = "weights"
    """The read-out: the weights of the attention to the source, or one of `alignment.readouts.names`."""
    pieces: Pieces = "sum"
    """Weight of a word with several pieces. sum: summed over the pieces of a source word, averaged over those of a
    target word. mean, max: averaged, or the largest, over both. any: words are linked where any of their pieces are;
    their weight is the largest."""
    end: End = "dropped"
    """What happens to the weight on the end token and other special tokens. dropped: the others are rescaled to the
    row's sum. null: it counts as a word, and a target word that prefers it has no link. sink: it is lost."""

    @property
    def kind(self) -> str:
        """The matrix of an `Attended`."""
        return "cross" if self.by == "weights" else self.by

    def describe(self) -> dict[str, Any]:
        """The fields, and a description of the links."""
        return asdict(self) | {
            "links": "largest weight, ties broken by position"
            if self.threshold is None
            else "weight at or above the threshold"
            if self.threshold
            else "every weight above zero"
        }


def select_heads(
    weights: Float[np.ndarray, "L H T S"], layer: int | None = None, head: int | None = None
) -> Float[np.ndarray, "T S"]:
    """The weights of one layer and head; the mean over layers or heads if none is given.

    Raises:
        UsageError: the attention has no such layer or head.
    """
    for what, number, count in (("layer", layer, len(weights)), ("head", head, weights.shape[1])):
        if number is not None and not 0 <= number < count:
            raise UsageError(f"{what} {number}: the attention has {what}s 0 to {count - 1}")
    layers = weights if layer is None else weights[layer : layer + 1]
    heads = layers if head is None else layers[:, head : head + 1]
    return heads.mean((0, 1))


def select(attended: Attended, rule: Rule) -> Float[np.ndarray, "T S"]:
    """The weights between the tokens of a pair that a rule reads, with its shift."""
    selected = select_heads(attended.matrix(rule.kind), rule.layer, rule.head)
    last = len(selected) - 1
    return selected[np.clip(np.arange(len(selected)) + rule.shift, 0, last)] if rule.shift else selected


def by_word(
    weights: Float[np.ndarray, "*B T S"],
    target: Sequence[int],
    source: Sequence[int],
    pieces: Pieces = "sum",
    end: End = "dropped",
) -> Float[np.ndarray, "*B U W"]:
    """Weights between words.

    Rows of special tokens are dropped. A row with weight on special tokens only is zero. Negative weights, which
    `--model.attention.mechanism` can make, count as zero.

    Args:
        weights: between tokens, of any number of layers and heads.
        target: the word of each row, numbered from 0 in order; -1 for a special token.
        source: the word of each column, likewise.
        pieces: see `Rule`.
        end: see `Rule`; null leaves out the column of the special tokens, as sink does.
    """
    weights = np.maximum(weights, 0)
    rows, columns = (_membership(spans) for spans in (target, source))
    if end == "dropped":
        total, kept = weights.sum(-1, keepdims=True), (weights @ (columns.sum(1, keepdims=True)))
        weights = weights * np.divide(total, kept, out=np.zeros_like(kept), where=kept > 0)
    if pieces in ("max", "any"):
        return _largest(np.swapaxes(_largest(np.swapaxes(weights, -1, -2), rows), -1, -2), columns)
    if pieces == "mean":
        columns = columns / np.maximum(columns.sum(0, keepdims=True), 1)
    mean = rows / np.maximum(rows.sum(0, keepdims=True), 1)
    between_words: np.ndarray = np.swapaxes(mean, 0, 1) @ weights @ columns
    return between_words


def _membership(spans: Sequence[int]) -> Float[np.ndarray, "N W"]:
    words = np.asarray(spans, np.int64)
    return (words[:, None] == np.arange(words.max(initial=-1) + 1)[None]).astype(np.float32)


def _largest(weights: Float[np.ndarray, "*B N M"], words: Float[np.ndarray, "M W"]) -> Float[np.ndarray, "*B N W"]:
    """Over the tokens of each word in the last axis; weights are not negative."""
    largest: np.ndarray = (weights[..., None] * words).max(-2, initial=0)
    return largest


def align(attended: Attended, rule: Rule) -> tuple[Float[np.ndarray, "U W"], Links]:
    """The weights between the words of a pair under a rule, and the links."""
    weights, (found,) = align_by_thresholds(attended, rule, (rule.threshold,))
    return weights, found


def align_by_thresholds(
    attended: Attended, rule: Rule, thresholds: Sequence[float | None]
) -> tuple[Float[np.ndarray, "U W"], list[Links]]:
    """Like `align`, with the links of each threshold instead of the rule's."""
    selected = select(attended, rule)
    target, source = attended.target.spans, attended.source.spans
    weights = by_word(selected, target, source, rule.pieces, rule.end)
    if rule.pieces != "any":
        null = _null(selected, target, source, rule)
        return weights, [links(weights, threshold, null) for threshold in thresholds]
    # Each piece counts as a word first.
    rows, columns = ([n if word >= 0 else -1 for n, word in enumerate(spans)] for spans in (target, source))
    between = by_word(selected, rows, columns, "sum", rule.end)
    null = _null(selected, rows, columns, rule)
    found = [links(between, threshold, null) for threshold in thresholds]
    return weights, [frozenset((source[s], target[t]) for s, t in each) for each in found]


def _null(
    weights: Float[np.ndarray, "T S"], target: Sequence[int], source: Sequence[int], rule: Rule
) -> Float[np.ndarray, " U"] | None:
    """The weight of each target word on the special tokens, if they count as a word."""
    if rule.end != "null":
        return None
    special = [0 if word < 0 else -1 for word in source]
    return by_word(weights, target, special, "sum" if rule.pieces == "any" else rule.pieces, "sink")[:, 0]


def links(
    weights: Float[np.ndarray, "U W"],
    threshold: float | None = None,
    null: Float[np.ndarray, " U"] | None = None,
) -> Links:
    """Links of each target word to the source word with the largest weight, or to all at or above a threshold (0: to
    all with any weight, which is useful if low energies have a weight of exactly zero).

    A target word without any weight has no link, and without a threshold none where `null` is larger than every
    weight. Ties are broken by position.
    """
    if threshold is not None:
        kept = (weights >= threshold) & (weights > 0)
        return frozenset((int(s), int(t)) for t, s in zip(*np.nonzero(kept), strict=True))
    least = np.zeros(len(weights)) if null is None else null
    return frozenset((int(row.argmax()), t) for t, row in enumerate(weights) if row.any() and row.max() >= least[t])
