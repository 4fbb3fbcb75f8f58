"""The word that is followed through the steps, and the words that are predicted at their end."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from jaxtyping import Float

MOST = 5
"""Words that a prediction shows."""
Names: TypeAlias = Callable[[Sequence[int]], Sequence[str]]
"""Token ids to the tokens as text."""


@dataclass(frozen=True)
class Prediction:
    """The most probable next token after each of N tokens, W of them, best first."""

    words: tuple[tuple[str, ...], ...]
    logits: Float[np.ndarray, "N W"]
    total: Float[np.ndarray, "N"]
    """log of the sum of exp(logit) over the whole vocabulary."""
    probabilities: Float[np.ndarray, "N W"]
    """exp(logit - total)."""
    vocabulary: int
    """Number of tokens in the vocabulary."""


def predict(logits: Float[np.ndarray, "N V"], names: Names) -> Prediction:
    """The softmax of the logits, and its largest values."""
    largest = logits.max(-1)
    total = largest + np.log(np.exp(logits - largest[:, None]).sum(-1))
    order = np.argsort(-logits, -1, kind="stable")[:, :MOST]
    best = np.take_along_axis(logits, order, -1)
    words = tuple(tuple(names(row.tolist())) for row in order)
    return Prediction(words, best, total, np.exp(best - total[:, None]), logits.shape[-1])


def middle_word(pieces: Sequence[str], words: Sequence[int]) -> int:
    """The token nearest to the middle that is a whole word with a letter; the middle one if there is none.

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
