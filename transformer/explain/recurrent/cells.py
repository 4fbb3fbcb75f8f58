"""One step of a recurrent cell in NumPy, with its gates.

Letters: H width of a state, X width of the input.
"""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Float

from transformer.explain.numbers import array, sigmoid

State: TypeAlias = tuple[np.ndarray, ...]
"""The hidden state [H], and an LSTM's memory."""


@dataclass(frozen=True)
class Part:
    """One result of a step, in the order of the computation."""

    name: str
    formula: str
    values: np.ndarray
    """The value for one step, or for every step [T, ...]."""


def step(cell: Any, x: Float[np.ndarray, " X"], state: State) -> tuple[State, tuple[Part, ...]]:
    """The next state of a model's `Cell`, and everything in between, for an input x and the state before."""
    return (_lstm if cell.kind == "lstm" else _gru)(cell, x, state)


def _gru(cell: Any, x: np.ndarray, state: State) -> tuple[State, tuple[Part, ...]]:
    """The reset gate acts before the product with the recurrent matrix (Cho 2014)."""
    (h,), recurrent = state, array(cell.recurrent)
    from_input = np.split(x @ array(cell.input) + array(cell.bias), 3)
    U_z, U_r, U = np.split(recurrent, 3, -1)
    a_z, a_r = from_input[0] + h @ U_z, from_input[1] + h @ U_r
    z, r = sigmoid(a_z), sigmoid(a_r)
    a = from_input[2] + (r * h) @ U
    proposed = np.tanh(a)
    new = (1 - z) * h + z * proposed
    return (new,), (
        Part("h", "the state before", h),
        Part("a_z", "W_z x + U_z h + b_z", a_z),
        Part("z", "update gate, sigmoid(a_z)", z),
        Part("a_r", "W_r x + U_r h + b_r", a_r),
        Part("r", "reset gate, sigmoid(a_r)", r),
        Part("r h", "the state that is not reset", r * h),
        Part("a", "W x + U (r h) + b", a),
        Part("g", "proposed state, tanh(a)", proposed),
        Part("h'", "the new state, (1 - z) h + z g", new),
    )


def _lstm(cell: Any, x: np.ndarray, state: State) -> tuple[State, tuple[Part, ...]]:
    """Input, forget and output gate and the memory (Hochreiter and Schmidhuber 1997; Gers 2000)."""
    h, c = state
    a_i, a_f, a_g, a_o = np.split(x @ array(cell.input) + array(cell.bias) + h @ array(cell.recurrent), 4)
    i, f, g, o = sigmoid(a_i), sigmoid(a_f), np.tanh(a_g), sigmoid(a_o)
    memory = f * c + i * g
    new = o * np.tanh(memory)
    return (new, memory), (
        Part("h", "the state before", h),
        Part("c", "the memory before", c),
        Part("a_i", "W_i x + U_i h + b_i", a_i),
        Part("i", "input gate, sigmoid(a_i)", i),
        Part("a_f", "W_f x + U_f h + b_f", a_f),
        Part("f", "forget gate, sigmoid(a_f)", f),
        Part("a_g", "W_g x + U_g h + b_g", a_g),
        Part("g", "proposed memory, tanh(a_g)", g),
        Part("a_o", "W_o x + U_o h + b_o", a_o),
        Part("o", "output gate, sigmoid(a_o)", o),
        Part("c'", "the new memory, f c + i g", memory),
        Part("h'", "the new state, o tanh(c')", new),
    )


def over_time(steps: list[tuple[Part, ...]]) -> tuple[Part, ...]:
    """The same parts of several steps as one, with values [T, ...]."""
    return tuple(
        Part(parts[0].name, parts[0].formula, np.stack([part.values for part in parts]))
        for parts in zip(*steps, strict=True)
    )
