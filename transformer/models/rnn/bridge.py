"""From the encoder to the first state of a recurrent decoder: a map of the encoder's last states, or of its memory.

A bridge is called with a memory and returns the first state of each decoder layer, and the summary [B, M] of the
sentence, the context of a decoder without attention. Both are computed once for each sentence; states are
always float32.
"""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from transformer.models.interface import Memory
from transformer.models.rnn import config
from transformer.nn.precision import widened
from transformer.nn.recurrent import LEAVES, State

_glorot = nnx.initializers.glorot_uniform()


class Bridge(nnx.Module):
    """From the last states of an encoder of the same family.

    luong: the state of each layer is that of the encoder's layer (Sutskever 2014; Luong 2015), or of both directions
    through a linear map and tanh. bahdanau: tanh(W_s h) of the backward state at the first word (appendix A.2.2), or of
    the only direction.
    """

    def __init__(self, model: config.Rnn, *, rngs: nnx.Rngs):
        self.copies = model.decoder == "luong" and not model.bidirectional
        both = model.decoder == "luong" and model.bidirectional
        self.depth, self.leaves, self.backward_only = model.decoder_layers, LEAVES[model.cell], not both
        inputs = (2 if both else 1) * (model.encoder_width or model.width)
        count = 0 if self.copies else self.leaves * model.decoder_layers
        self.maps = nnx.List([nnx.Param(_glorot(rngs.params(), (inputs, model.width))) for _ in range(count)])

    def __call__(self, memory: Memory) -> tuple[tuple[State, ...], Float[Array, "B M"]]:
        """First states and summary."""
        last = memory.final_state.layers
        if self.copies:
            return tuple(directions[0] for directions in last), memory.final_state.summary
        states = []
        for layer in range(self.depth):
            directions = last[min(layer, len(last) - 1)]
            if self.backward_only:
                directions = directions[-1:]
            state = []
            for leaf in range(self.leaves):
                x = jnp.concatenate([direction[leaf] for direction in directions], -1)
                state.append(jnp.tanh(x @ self.maps[layer * self.leaves + leaf][...]))
            states.append(tuple(state))
        return tuple(states), memory.final_state.summary


class MeanBridge(nnx.Module):
    """From the memory of any encoder: tanh of a linear map of the mean of its states, for each layer and each leaf of a
    state (Xu 2015, section 3.1.2). The mean is also the summary."""

    def __init__(self, model: config.Rnn, memory: int, *, rngs: nnx.Rngs):
        self.depth, self.leaves = model.decoder_layers, LEAVES[model.cell]
        count = self.leaves * model.decoder_layers
        self.maps = nnx.List([nnx.Param(_glorot(rngs.params(), (memory, model.width))) for _ in range(count)])

    def __call__(self, memory: Memory) -> tuple[tuple[State, ...], Float[Array, "B M"]]:
        """First states and summary."""
        mean = masked_mean(memory)
        leaves = [jnp.tanh(mean @ matrix[...]) for matrix in self.maps]
        states = tuple(tuple(leaves[layer * self.leaves : (layer + 1) * self.leaves]) for layer in range(self.depth))
        return states, mean.astype(memory.states.dtype)


def masked_mean(memory: Memory) -> Float[Array, "B M"]:
    """The mean of the states of real tokens, in float32; zeros for a sentence without any."""
    real = memory.mask[..., None]
    total = jnp.where(real, widened(memory.states), 0).sum(1)
    return total / jnp.maximum(real.sum(1), 1)
