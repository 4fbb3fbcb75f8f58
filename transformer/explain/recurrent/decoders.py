"""The two recurrent decoders in NumPy, token by token, as their papers write them.

Letters: T target tokens, X width of an embedding, H width of a state, M width of the memory.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Float

from transformer.explain.numbers import array
from transformer.explain.recurrent.attention import Attention
from transformer.explain.recurrent.cells import Part, State, step

Attend: TypeAlias = Callable[[np.ndarray, int], Attention]
"""The attention of one query [1, H] at a position of the target."""


@dataclass(frozen=True)
class Step:
    """The computation for one token."""

    inputs: tuple[Part, ...]
    """The parts of the first cell's input."""
    layers: tuple[tuple[Part, ...], ...]
    """The cell of each layer."""
    states: tuple[State, ...]
    """The state of each layer, after the token."""
    query: Float[np.ndarray, " H"]
    """The query that attends to the source."""
    readout: tuple[Part, ...]
    """From state and context to the output layer's input, the last part."""


def luong(decoder: Any, embedded: Float[np.ndarray, "T X"], states: tuple[State, ...], attend: Attend) -> list[Step]:
    """Attention on h_t, then h~_t = tanh(W_c [c_t; h_t]) (Luong 2015, section 3).

    Args:
        decoder: the model's.
        embedded: of each token that the decoder reads.
        states: of each layer, before the first token.
        attend: not called for a decoder without attention.
    """
    feed, steps = np.zeros(decoder.width), []
    for position, embedding in enumerate(embedded):
        inputs = [Part("e", "embedding of the token times sqrt(X)", embedding)]
        if decoder.feeding:
            inputs.append(Part("h~", "attentional vector of the step before (input feeding)", feed))
        states, layers = _stack(decoder.stack, inputs, states)
        h = states[-1][0]
        readout = [Part("h", "state of the last layer", h)]
        if decoder.mechanism is not None:
            context = attend(h[None], position).context[0]
            product = np.concatenate([context, h]) @ array(decoder.combine)
            feed = np.tanh(product)
            readout = [
                Part("c", "context", context),
                *readout,
                Part("a", "W_c [c; h]", product),
                Part("h~", "attentional vector, tanh(a)", feed),
            ]
        steps.append(Step(tuple(inputs), layers, states, h, tuple(readout)))
    return steps


def bahdanau(
    decoder: Any,
    embedded: Float[np.ndarray, "T X"],
    states: tuple[State, ...],
    attend: Attend,
    summary: Float[np.ndarray, " M"],
) -> list[Step]:
    """Attention on s_{t-1}, whose context enters the cell; then maxout (Bahdanau 2015, appendix A.2.2).

    The arguments are those of `luong`; `summary` is the context of a decoder without attention.
    """
    steps = []
    for position, embedding in enumerate(embedded):
        s = states[-1][0]
        context, name = summary, "the encoder's summary of the sentence"
        if decoder.mechanism is not None:
            context, name = attend(s[None], position).context[0], "context"
        inputs = [
            Part("e", "embedding of the token times sqrt(X)", embedding),
            Part("c", name, context),
        ]
        states, layers = _stack(decoder.stack, inputs, states)
        deep = np.concatenate([s, embedding, context]) @ array(decoder.deep)
        readout = (
            Part("s", "the state before, of the last layer", s),
            Part("t~", "U_o s + V_o e + C_o c", deep),
            Part("t", "the larger one of each pair of t~ (maxout)", deep.reshape(-1, 2).max(-1)),
        )
        steps.append(Step(tuple(inputs), layers, states, s, readout))
    return steps


def _stack(
    stack: Any, inputs: list[Part], before: tuple[State, ...]
) -> tuple[tuple[State, ...], tuple[tuple[Part, ...], ...]]:
    """One token through the cells of all layers."""
    x, states, layers = np.concatenate([part.values for part in inputs]), [], []
    for cell, state in zip(stack.cells, before, strict=True):
        new, parts = step(cell, x, state)
        x = new[0]
        states.append(new)
        layers.append(parts)
    return tuple(states), tuple(layers)
