"""Recurrent cells, the scan over time, and layers of them.

Letters: X width of an input, H width of a state (here not the number of heads), G = gates x H. A state is a tuple whose
first leaf is the hidden state [B, H]; the LSTM's second leaf is its memory cell. States are float32, because they are
sums over time; a step computes in the precision of the projected input.
"""

from typing import TypeAlias

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, PRNGKeyArray, Shaped

from transformer.nn.dropout import dropout
from transformer.nn.remat import Remat, remat

State: TypeAlias = tuple[Array, ...]

GATES = {"lstm": 4, "gru": 3}
"""Kinds of cells, and how many gates (with proposed states) each computes."""
LEAVES = {"lstm": 2, "gru": 1}
"""Leaves of a state."""


def lstm(projected: Float[Array, "B G"], state: State, recurrent: Float[Array, "H G"]) -> State:
    """Input, forget and output gate, and the new memory (Hochreiter and Schmidhuber 1997; Gers 2000).

    `projected` is the input's part of the gates, with the biases.
    """
    h, c = state
    enter, forget, new, out = jnp.split(projected + h.astype(projected.dtype) @ recurrent, 4, -1)
    c = jax.nn.sigmoid(forget) * c + jax.nn.sigmoid(enter) * jnp.tanh(new)
    return jax.nn.sigmoid(out) * jnp.tanh(c), c


def gru(projected: Float[Array, "B G"], state: State, recurrent: Float[Array, "H G"]) -> State:
    """Update and reset gate, and the proposed state (Cho 2014; Bahdanau 2015, appendix A.1.1)."""
    (h,), H, kind = state, recurrent.shape[0], projected.dtype
    update, reset = jnp.split(jax.nn.sigmoid(projected[:, : 2 * H] + h.astype(kind) @ recurrent[:, : 2 * H]), 2, -1)
    proposed = jnp.tanh(projected[:, 2 * H :] + (reset * h).astype(kind) @ recurrent[:, 2 * H :])
    return ((1 - update) * h + update * proposed,)


class Cell(nnx.Module):
    """The cell of one layer. Its input has parts; a part known in advance is projected for all steps at once."""

    def __init__(self, kind: str, inputs: tuple[int, ...], width: int, *, rngs: nnx.Rngs):
        gates = GATES[kind]
        self.kind, self.inputs, self.width = kind, inputs, width
        scale = (6 / (sum(inputs) + width)) ** 0.5
        self.input = nnx.Param(
            jax.random.uniform(rngs.params(), (sum(inputs), gates * width), minval=-scale, maxval=scale)
        )
        square = nnx.initializers.orthogonal()
        blocks = [square(rngs.params(), (width, width)) for _ in range(gates)]
        self.recurrent = nnx.Param(jnp.concatenate(blocks, -1))
        bias = jnp.zeros((gates, width))
        # The forget gate's bias starts at 1 (Gers 2000; Jozefowicz 2015).
        self.bias = nnx.Param((bias.at[1].set(1.0) if kind == "lstm" else bias).reshape(-1))

    def project(self, x: Float[Array, "*B X"], part: int = 0) -> Float[Array, "*B G"]:
        """One part of the input, projected to the gates; the first part adds the biases."""
        begin = sum(self.inputs[:part])
        product = x @ self.input[begin : begin + self.inputs[part]].astype(x.dtype)
        if part > 0:
            return product
        return (product + jnp.broadcast_to(self.bias[...], product.shape)).astype(x.dtype)

    def __call__(self, projected: Float[Array, "B G"], state: State) -> State:
        """The next state."""
        return (lstm if self.kind == "lstm" else gru)(projected, state, self.recurrent[...].astype(projected.dtype))

    def zeros(self, rows: int) -> State:
        """The initial state of zeros."""
        return tuple(jnp.zeros((rows, self.width)) for _ in range(LEAVES[self.kind]))


def run(
    cell: Cell,
    projected: Float[Array, "B T G"],
    start: State,
    mask: Bool[Array, "B T"] | None = None,
    *,
    reverse: bool = False,
    how: Remat = "none",
) -> tuple[Float[Array, "B T H"], State]:
    """Run a cell over time: all hidden states, and the last state.

    Where the mask is False the state does not change, so the last state is that of the last real token (reverse: of the
    first). `how` is the argument of `remat`.
    """

    def step(state: State, inputs: tuple[Array, Array | None]) -> tuple[State, Array]:
        x, real = inputs
        new = cell(x, state)
        if real is not None:
            new = tuple(jnp.where(real[:, None], n, old) for n, old in zip(new, state, strict=True))
        return new, new[0].astype(x.dtype)

    inputs = (projected.swapaxes(0, 1), None if mask is None else mask.T)
    last, hidden = jax.lax.scan(remat(step, how), start, inputs, reverse=reverse)
    return hidden.swapaxes(0, 1), last


class Layers(nnx.Module):
    """Layers of cells over time; bidirectional layers concatenate [forward; backward]."""

    def __init__(
        self,
        kind: str,
        inputs: int,
        width: int,
        depth: int,
        *,
        bidirectional: bool = False,
        rate: float = 0.0,
        remat: Remat = "none",
        rngs: nnx.Rngs,
    ):
        """
        Args:
            kind: of the cells, a key of `GATES`.
            inputs: width of the first layer's input, X.
            width: of the hidden states in each direction, H.
            depth: number of layers.
            bidirectional: whether each layer has a second cell that reads backwards.
            rate: dropout between layers.
            remat: what the backward pass recomputes.
            rngs: of the parameters.
        """
        self.width = width * (2 if bidirectional else 1)
        widths = [inputs] + [self.width] * (depth - 1)
        self.forward = nnx.List([Cell(kind, (w,), width, rngs=rngs) for w in widths])
        self.backward = nnx.List([Cell(kind, (w,), width, rngs=rngs) for w in (widths if bidirectional else [])])
        self.rate, self.remat = rate, remat

    def __call__(
        self, x: Float[Array, "B S X"], mask: Bool[Array, "B S"], keys: list[PRNGKeyArray | None]
    ) -> tuple[Float[Array, "B S M"], list[tuple[State, ...]]]:
        """States of the last layer, M = directions x H, and the last state of every layer and direction.

        `keys` are those of the dropout before each layer, of which the first is not used.
        """
        finals = []
        for layer, cell in enumerate(self.forward):
            if layer > 0:
                x = dropout(x, self.rate, keys[layer])
            hidden, last = run(cell, cell.project(x), cell.zeros(len(x)), mask, how=self.remat)
            both = [last]
            if self.backward:
                cell = self.backward[layer]
                other, first = run(cell, cell.project(x), cell.zeros(len(x)), mask, reverse=True, how=self.remat)
                hidden, both = jnp.concatenate([hidden, other], -1), [last, first]
            x = hidden
            finals.append(tuple(both))
        return x, finals


def reverse_tokens(x: Shaped[Array, "B S *D"], mask: Bool[Array, "B S"]) -> Shaped[Array, "B S *D"]:
    """Each sentence in reverse order, its end-of-sentence token and its padding in place; its own inverse."""
    S = mask.shape[1]
    words = mask.sum(-1)[:, None] - 1
    positions = jnp.arange(S)[None]
    order = jnp.where(positions < words, words - 1 - positions, positions)
    return jnp.take_along_axis(x, order.reshape(*order.shape, *[1] * (x.ndim - 2)), 1)
