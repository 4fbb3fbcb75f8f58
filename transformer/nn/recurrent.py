"""Recurrent cells, the scan over time, and the encoder made of them.

Letters: X width of an input, H of a state (heads are the Transformer's), G = gates x H. A state is a tuple whose first
leaf is the hidden state [B, H]; the LSTM's second one is its memory cell. States are float32, for they are sums over
time; a step computes in the precision of what is projected.
"""

from typing import TypeAlias

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, PRNGKeyArray, Shaped

from transformer.models.rnn import config
from transformer.nn.dropout import dropout
from transformer.nn.remat import remat

State: TypeAlias = tuple[Array, ...]

GATES = {"lstm": 4, "gru": 3}


def lstm(projected: Float[Array, "B G"], state: State, recurrent: Float[Array, "H G"]) -> State:
    """Input, forget and output gate, and the new memory (Hochreiter and Schmidhuber 1997; Gers 2000).

    `projected` is all that the input gives to the gates, biases included.
    """
    h, c = state
    into, keep, new, out = jnp.split(projected + h.astype(projected.dtype) @ recurrent, 4, -1)
    c = jax.nn.sigmoid(keep) * c + jax.nn.sigmoid(into) * jnp.tanh(new)
    return jax.nn.sigmoid(out) * jnp.tanh(c), c


def gru(projected: Float[Array, "B G"], state: State, recurrent: Float[Array, "H G"]) -> State:
    """Update and reset gate, and the proposed state (Cho 2014; Bahdanau 2015, appendix A.1.1)."""
    (h,), H, kind = state, recurrent.shape[0], projected.dtype
    update, reset = jnp.split(jax.nn.sigmoid(projected[:, : 2 * H] + h.astype(kind) @ recurrent[:, : 2 * H]), 2, -1)
    proposed = jnp.tanh(projected[:, 2 * H :] + (reset * h).astype(kind) @ recurrent[:, 2 * H :])
    return ((1 - update) * h + update * proposed,)


class Cell(nnx.Module):
    """One layer's cell. Its inputs come in parts, so that what is known beforehand is projected for all of time."""

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
        # An LSTM begins by remembering (Gers 2000; Jozefowicz 2015).
        self.bias = nnx.Param((bias.at[1].set(1.0) if kind == "lstm" else bias).reshape(-1))

    def project(self, x: Float[Array, "*B X"], part: int = 0) -> Float[Array, "*B G"]:
        """What one part of the input gives to the gates; the first part brings the biases."""
        begin = sum(self.inputs[:part])
        product = x @ self.input[begin : begin + self.inputs[part]].astype(x.dtype)
        if part > 0:
            return product
        return (product + jnp.broadcast_to(self.bias[...], product.shape)).astype(x.dtype)

    def __call__(self, projected: Float[Array, "B G"], state: State) -> State:
        """The next state."""
        return (lstm if self.kind == "lstm" else gru)(projected, state, self.recurrent[...].astype(projected.dtype))

    def zeros(self, rows: int) -> State:
        """The state before anything."""
        return tuple(jnp.zeros((rows, self.width)) for _ in range(2 if self.kind == "lstm" else 1))


def run(
    cell: Cell,
    projected: Float[Array, "B T G"],
    start: State,
    mask: Bool[Array, "B T"] | None = None,
    *,
    reverse: bool = False,
    how: str = "none",
) -> tuple[Float[Array, "B T H"], State]:
    """A cell over time: hidden states, and the last state.

    Where the mask is False the state stays as it is: the last state is that of the last token (reverse: of the first),
    whatever the padding. `how` much the backward pass computes again is as `remat` says.
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


class Encoder(nnx.Module):
    """Layers of cells; bidirectional ones run in both directions and concatenate [forward; backward]."""

    def __init__(self, model: config.Rnn, *, rngs: nnx.Rngs):
        H = model.encoder_width or model.width
        self.width = H * (2 if model.bidirectional else 1)
        widths = [model.embedding] + [self.width] * (model.encoder_layers - 1)
        self.forward = nnx.List([Cell(model.cell, (w,), H, rngs=rngs) for w in widths])
        backward = widths if model.bidirectional else []
        self.backward = nnx.List([Cell(model.cell, (w,), H, rngs=rngs) for w in backward])
        self.dropout, self.remat = model.dropout, "none"

    def __call__(
        self, x: Float[Array, "B S X"], mask: Bool[Array, "B S"], keys: list[PRNGKeyArray | None]
    ) -> tuple[Float[Array, "B S M"], list[tuple[State, ...]]]:
        """States of the last layer, M = directions x H, and the last state of every layer and direction."""
        finals = []
        for layer, cell in enumerate(self.forward):
            if layer > 0:
                x = dropout(x, self.dropout, keys[layer])
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
    """Each sentence backwards, its end mark and its padding where they were; its own inverse."""
    S = mask.shape[1]
    words = mask.sum(-1)[:, None] - 1
    places = jnp.arange(S)[None]
    order = jnp.where(places < words, words - 1 - places, places)
    return jnp.take_along_axis(x, order.reshape(*order.shape, *[1] * (x.ndim - 2)), 1)
