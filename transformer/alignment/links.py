"""From the weights of tokens to those of words, and from those to links."""

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
    """How weights become links; it is kept with them."""

    layer: int | None = None
    """Layer of the attention, from 0; None: the mean of all."""
    head: int | None = None
    """Its head, from 0; None: the mean of all."""
    threshold: float | None = None
    """Links are all words with at least this weight; None: the one with the most."""
    shift: int = 0
    """Rows are read so many tokens later: 1 takes for the alignment of a token what was looked at one step after it was
    written (Chen 2020, "Accurate Word Alignment Induction from Neural Machine Translation")."""

    def describe(self) -> dict[str, Any]:
        """Its values, and what it always does, in words."""
        return asdict(self) | {
            "words": "weights are summed over the pieces of a source word and averaged over those of a target word; "
            "columns of marks are dropped and the rest of a row scaled to its sum before; rows of marks are dropped",
            "links": "most weight, the first of equals"
            if self.threshold is None
            else "weight at or above the threshold",
        }


def choose(
    weights: Float[np.ndarray, "L H T S"], layer: int | None = None, head: int | None = None
) -> Float[np.ndarray, "T S"]:
    """One layer's, one head's, or the mean over those that are not named. Raises UsageError for one there is not."""
    for what, number, count in (("layer", layer, len(weights)), ("head", head, weights.shape[1])):
        if number is not None and not 0 <= number < count:
            raise UsageError(f"{what} {number}: the attention has {what}s 0 to {count - 1}")
    layers = weights if layer is None else weights[layer : layer + 1]
    heads = layers if head is None else layers[:, head : head + 1]
    return heads.mean((0, 1))


def by_word(
    weights: Float[np.ndarray, "*B T S"], target: Sequence[int], source: Sequence[int]
) -> Float[np.ndarray, "*B U W"]:
    """Weights between words. A row keeps its sum though marks are dropped; one that looked at marks alone is zero.

    Args:
        weights: between tokens, of any number of layers and heads.
        target: the word of each row, -1 for a mark; words are numbered from 0 in order.
        source: the same of each column.
    """
    rows, columns = (_membership(spans) for spans in (target, source))
    total = weights.sum(-1, keepdims=True)
    onto = weights @ columns
    kept = onto.sum(-1, keepdims=True)
    onto = onto * np.divide(total, kept, out=np.zeros_like(kept), where=kept > 0)
    mean = rows / np.maximum(rows.sum(0, keepdims=True), 1)
    found: np.ndarray = np.swapaxes(mean, 0, 1) @ onto
    return found


def _membership(spans: Sequence[int]) -> Float[np.ndarray, "N W"]:
    words = np.asarray(spans, np.int64)
    return (words[:, None] == np.arange(words.max(initial=-1) + 1)[None]).astype(np.float32)


def align(attended: Attended, rule: Rule) -> tuple[Float[np.ndarray, "U W"], Links]:
    """The weights between the words of a pair under a rule, and the links."""
    chosen = choose(attended.matrix("cross"), rule.layer, rule.head)
    if rule.shift:
        last = len(chosen) - 1
        chosen = chosen[np.clip(np.arange(len(chosen)) + rule.shift, 0, last)]
    weights = by_word(chosen, attended.target.spans, attended.source.spans)
    return weights, links(weights, rule.threshold)


def links(weights: Float[np.ndarray, "U W"], threshold: float | None = None) -> Links:
    """Each target word with the source word it looked at most, or with all at or above a threshold.

    A target word without any weight has no link.
    """
    if threshold is None:
        return frozenset((int(row.argmax()), place) for place, row in enumerate(weights) if row.any())
    return frozenset((int(s), int(t)) for t, s in zip(*np.nonzero(weights >= threshold), strict=True))
