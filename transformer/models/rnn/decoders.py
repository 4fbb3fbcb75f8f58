"""The two recurrent decoders of the literature, with any attention or none."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from transformer.attention.mechanism import Mechanism
from transformer.models.rnn import config
from transformer.nn import recurrent
from transformer.nn.dropout import dropout, split_key
from transformer.nn.precision import widened
from transformer.nn.remat import Remat, remat

Carry: TypeAlias = Any
"""State between two tokens, in float32; leaves have a leading axis R."""

_glorot = nnx.initializers.glorot_uniform()


class CrossCache(NamedTuple):
    """The source in the form that the decoder attends to; leaves have a leading axis B."""

    keys: Float[Array, "B S P"]
    values: Float[Array, "B S M"]
    mask: Bool[Array, "B S"]
    summary: Float[Array, "B M"]
    """The context of a decoder without attention."""


def mechanism(model: config.Rnn, memory: int, *, rngs: nnx.Rngs) -> Mechanism | None:
    """The attention of the settings; None for the score `none`."""
    return None if model.attention.score == "none" else Mechanism(model.attention, model.width, memory, rngs=rngs)


def attend(
    attention: Mechanism,
    query: Float[Array, "R T H"],
    source: CrossCache,
    position: Int[Array, "R T"],
    key: PRNGKeyArray | None,
) -> tuple[Float[Array, "R T M"], Float[Array, "R T S"]]:
    """Context and weights. All hypotheses of a sentence are queries of one attention: the memory is not copied."""
    R, T, H = query.shape
    B = source.mask.shape[0]
    context, weights = attention(
        query.reshape(B, R // B * T, H),
        source.keys,
        source.values,
        source.mask[:, None],
        position.reshape(B, R // B * T),
        source.mask.sum(-1),
        key=key,
    )
    assert weights is not None
    return context.reshape(R, T, -1), weights.reshape(R, T, -1)


class Stack(nnx.Module):
    """The decoder's layers. The input of the first is the embedding, known in advance, and optionally a second part."""

    def __init__(self, model: config.Rnn, second: int, *, rngs: nnx.Rngs):
        parts = (model.embedding, second) if second else (model.embedding,)
        inputs = [parts] + [(model.width,)] * (model.decoder_layers - 1)
        self.cells = nnx.List([recurrent.Cell(model.cell, part, model.width, rngs=rngs) for part in inputs])
        self.rate = model.dropout

    def __call__(
        self,
        projected: Float[Array, "R G"],
        second: Float[Array, "R X"] | None,
        states: tuple[recurrent.State, ...],
        key: PRNGKeyArray | None,
    ) -> tuple[recurrent.State, ...]:
        """The state of every layer after one more token. `projected` is the embedding, projected by the first layer."""
        keys = split_key(key, len(self.cells))
        first = self.cells[0]
        if second is not None:
            projected = projected + first.project(second.astype(projected.dtype), 1)
        new = [first(projected, states[0])]
        for layer, cell in list(enumerate(self.cells))[1:]:
            x = dropout(new[-1][0].astype(projected.dtype), self.rate, keys[layer])
            new.append(cell(cell.project(x), states[layer]))
        return tuple(new)


class Luong(nnx.Module):
    """Attention on h_t, then h~_t = tanh(W_c [c_t; h_t]) (Luong 2015, section 3, equation 5).

    With input feeding h~_t enters the next step's first cell (section 3.3). Without attention the readout is h_t itself
    (Sutskever 2014).
    """

    def __init__(self, model: config.Rnn, memory: int, *, rngs: nnx.Rngs, remat: Remat = "none"):
        self.mechanism = mechanism(model, memory, rngs=rngs)
        attends = self.mechanism is not None
        self.width = (model.readout or model.width) if attends else model.width
        self.feeding = model.input_feeding and attends
        self.stack = Stack(model, self.width if self.feeding else 0, rngs=rngs)
        self.combine = nnx.Param(_glorot(rngs.params(), (memory + model.width, self.width))) if attends else None
        self.remat = remat

    def init_carry(self, states: tuple[recurrent.State, ...]) -> Carry:
        """The carry before the first token: states of the layers, and an attentional vector of zeros."""
        feed = jnp.zeros((states[0][0].shape[0], self.width)) if self.feeding else None
        return states, feed

    def unroll(
        self,
        embedded: Float[Array, "R T X"],
        carry: Carry,
        source: CrossCache,
        position: Int[Array, "R T"],
        key: PRNGKeyArray | None,
    ) -> tuple[Carry, Any]:
        """All tokens in sequence: the carry after the last, and the inputs of `readout`."""

        def step(source: CrossCache, carry: Carry, inputs: Any) -> tuple[Carry, Any]:
            projected, position, key = inputs
            states, feed = carry
            states = self.stack(projected, feed, states, key)
            top = states[-1][0].astype(projected.dtype)
            if not self.feeding:
                return (states, None), top
            vector, weights = self._attend(top[:, None], source, position[:, None], key)
            return (states, vector[:, 0].astype(feed.dtype)), (vector[:, 0], weights[:, 0])

        return _over_time(step, source, carry, self.stack.cells[0].project(embedded), position, key, self.remat)

    def readout(
        self,
        embedded: Float[Array, "R T X"],
        outputs: Any,
        source: CrossCache,
        position: Int[Array, "R T"],
        key: PRNGKeyArray | None,
    ) -> tuple[Float[Array, "R T D"], Float[Array, "R T S"] | None]:
        """The output layer's input, and the attention weights."""
        if self.feeding:
            return outputs
        return (outputs, None) if self.mechanism is None else self._attend(outputs, source, position, key)

    def project_context(self, context: Float[Array, "B S M"]) -> Float[Array, "B S D"]:
        """The contribution of a context to h~_t before its tanh (equation 5)."""
        assert self.combine is not None
        return context @ self.combine[...][: context.shape[-1]].astype(context.dtype)

    def _attend(
        self, top: Float[Array, "R T H"], source: CrossCache, position: Int[Array, "R T"], key: PRNGKeyArray | None
    ) -> tuple[Float[Array, "R T D"], Float[Array, "R T S"]]:
        assert self.mechanism is not None
        assert self.combine is not None
        context, weights = attend(self.mechanism, top, source, position, key)
        return jnp.tanh(jnp.concatenate([context, top], -1) @ self.combine[...].astype(top.dtype)), weights


class Bahdanau(nnx.Module):
    """Attention on s_{t-1}; its context enters the cell; deep output with maxout (Bahdanau 2015, appendix A.2.2).

    Without attention the context is the encoder's summary at every step (Cho 2014).
    """

    def __init__(self, model: config.Rnn, memory: int, *, rngs: nnx.Rngs, remat: Remat = "none"):
        self.mechanism = mechanism(model, memory, rngs=rngs)
        self.width = model.readout or max(1, model.width // 2)
        self.stack = Stack(model, memory, rngs=rngs)
        # U_o, V_o, C_o as one matrix over [s_{t-1}; E y_{t-1}; c_t]; the maxout takes pairs of its columns.
        self.deep = nnx.Param(_glorot(rngs.params(), (model.width + model.embedding + memory, 2 * self.width)))
        self.remat = remat

    def init_carry(self, states: tuple[recurrent.State, ...]) -> Carry:
        """The carry before the first token: states of the layers."""
        return states

    def unroll(
        self,
        embedded: Float[Array, "R T X"],
        carry: Carry,
        source: CrossCache,
        position: Int[Array, "R T"],
        key: PRNGKeyArray | None,
    ) -> tuple[Carry, Any]:
        """All tokens in sequence: the carry after the last, and the inputs of `readout`."""
        source = source._replace(summary=jnp.repeat(source.summary, len(embedded) // len(source.summary), 0))

        def step(source: CrossCache, states: Carry, inputs: Any) -> tuple[Carry, Any]:
            projected, position, key = inputs
            before = states[-1][0].astype(projected.dtype)
            if self.mechanism is None:
                context, weights = source.summary, None
            else:
                context, weights = jax.tree.map(
                    lambda x: x[:, 0], attend(self.mechanism, before[:, None], source, position[:, None], key)
                )
            return self.stack(projected, context, states, key), (before, context, weights)

        return _over_time(step, source, carry, self.stack.cells[0].project(embedded), position, key, self.remat)

    def readout(
        self,
        embedded: Float[Array, "R T X"],
        outputs: Any,
        source: CrossCache,
        position: Int[Array, "R T"],
        key: PRNGKeyArray | None,
    ) -> tuple[Float[Array, "R T D"], Float[Array, "R T S"] | None]:
        """The output layer's input, t_i = max of the pairs of t~_i, and the attention weights."""
        before, context, weights = outputs
        deep = jnp.concatenate([before, embedded, context], -1) @ self.deep[...].astype(embedded.dtype)
        return deep.reshape(*deep.shape[:-1], self.width, 2).max(-1), weights

    def project_context(self, context: Float[Array, "B S M"]) -> Float[Array, "B S X"]:
        """The contribution of a context to t~_i before its maxout."""
        return context @ self.deep[...][-context.shape[-1] :].astype(context.dtype)


def _over_time(
    step: Callable[[CrossCache, Carry, Any], tuple[Carry, Any]],
    source: CrossCache,
    carry: Carry,
    projected: Float[Array, "R T G"],
    position: Int[Array, "R T"],
    key: PRNGKeyArray | None,
    how: Remat,
) -> tuple[Carry, Any]:
    """Scan over T; outputs [R, T, ...]. `how` is the argument of `remat`."""
    T = projected.shape[1]
    keys = None if key is None else jax.random.split(key, T)
    # The gradient of the source is a sum over time: outside of the steps the source is float32.
    outside = widened(source)

    def scanned(carry: Carry, inputs: Any) -> tuple[Carry, Any]:
        return step(jax.tree.map(lambda x, own: x.astype(own.dtype), outside, source), carry, inputs)

    last, outputs = jax.lax.scan(remat(scanned, how), carry, (projected.swapaxes(0, 1), position.T, keys))
    return last, jax.tree.map(lambda x: x.swapaxes(0, 1), outputs)
