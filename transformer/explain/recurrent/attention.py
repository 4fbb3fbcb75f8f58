"""The attention of a recurrent decoder to the source in NumPy, for one query or several.

Letters: T queries of width H, S source tokens, M width of the memory.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from transformer.explain.numbers import softmax
from transformer.explain.scores import FORMULAS, Comparison, Cut, compare, cut, parameters


@dataclass(frozen=True)
class Attention:
    """The attention of each query to the source."""

    score: str
    formula: str
    """How the score compares a query q with a key k."""
    query: Float[np.ndarray, "T H"]
    """q: the state h_t (Luong) or s_{t-1} (Bahdanau)."""
    memory: Float[np.ndarray, "S M"]
    """The encoder's states, which are keys and values."""
    mask: Bool[np.ndarray, " S"]
    """Source tokens that are not padding."""
    comparison: Comparison
    window: Cut | None
    """None if it is global."""
    half_width: int
    """D: the window's positions on either side of its centre."""
    masked: Float[np.ndarray, "T S"]
    """The energies, with -inf where the mask or the window forbids attention."""
    softmax: Float[np.ndarray, "T S"]
    weights: Float[np.ndarray, "T S"]
    """The softmax, times the window's gain if it has one."""
    context: Float[np.ndarray, "T M"]
    """The sum of the memory's states, each times its weight."""


def attend(
    mechanism: Any,
    query: Float[np.ndarray, "T H"],
    positions: Sequence[int],
    memory: Float[np.ndarray, "S M"],
    mask: Bool[np.ndarray, " S"],
) -> Attention:
    """The attention of a model's `Mechanism` without heads.

    Args:
        mechanism: the model's.
        query: q.
        positions: of the queries in the target, for windows.
        memory: the encoder's states.
        mask: source tokens that are not padding.
    """
    score, S = mechanism.score, len(memory)
    compared = compare(score, query, memory, parameters(mechanism.score_weights))
    own = parameters(mechanism.window_weights)
    window = cut(mechanism.window, query, np.array(positions), int(mask.sum()), S, mechanism.half_width, own)
    masked = np.where(mask if window is None else mask & window.seen, compared.energies, -np.inf)
    shares = softmax(masked)
    weights = shares if window is None or window.gain is None else shares * window.gain
    return Attention(
        score,
        FORMULAS[score],
        query,
        memory,
        mask,
        compared,
        window,
        mechanism.half_width,
        masked,
        shares,
        weights,
        weights @ memory,
    )
