"""Recurrent encoder-decoders with and without attention; implements `models.interface.Model`."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from transformer.attention import masks
from transformer.models.interface import Attentions, Memory
from transformer.models.rnn import config
from transformer.models.rnn.decoders import Bahdanau, Carry, CrossCache, Luong
from transformer.nn import recurrent
from transformer.nn.dropout import dropout
from transformer.nn.layers import Embedding, Output, keys_for


class FinalState(NamedTuple):
    """What the encoder leaves beside its states."""

    start: tuple[recurrent.State, ...]
    """The decoder's first state, layer by layer."""
    summary: Float[Array, "B M"]
    """The whole sentence as one vector: the context where there is no attention."""


class Cache(NamedTuple):
    """What a decoder carries from token to token, [B, K] hypotheses, and how many tokens those are."""

    carry: Carry
    position: Int[Array, "B"]


class Rnn(nnx.Module):
    """Encoder, bridge to the decoder's first state, and one of the two decoders."""

    def __init__(self, model: config.Rnn, source_vocabulary: int, target_vocabulary: int, *, rngs: nnx.Rngs):
        self.embed_target = Embedding(target_vocabulary, model.embedding, rngs=rngs)
        tied = model.tie == "all"
        self.embed_source = self.embed_target if tied else Embedding(source_vocabulary, model.embedding, rngs=rngs)
        self.encoder = recurrent.Encoder(model, rngs=rngs)
        self.bridge = Bridge(model, rngs=rngs)
        decoder = Luong if model.decoder == "luong" else Bahdanau
        self.decoder: Luong | Bahdanau = decoder(model, self.encoder.width, rngs=rngs)
        own = model.tie == "none"
        self.output = Output(
            Embedding(target_vocabulary, self.decoder.width, rngs=rngs) if own else self.embed_target, bias=True
        )
        self.reverse, self.dropout, self.layers = model.reverse, model.dropout, model.encoder_layers

    def encode(self, source: Int[Array, "B S"], key: PRNGKeyArray | None = None, *, weights: bool = False) -> Memory:
        """See `Model.encode`."""
        mask = masks.padding(source)[:, 0, 0]
        keys = keys_for(key, self.layers + 1)
        read = recurrent.reverse_tokens(source, mask) if self.reverse else source
        x = dropout(self.embed_source(read), self.dropout, keys[-1])
        states, last = self.encoder(x, mask, keys)
        summary = jnp.concatenate([direction[0] for direction in last[-1]], -1).astype(states.dtype)
        if self.reverse:
            states = recurrent.reverse_tokens(states, mask)
        return Memory(states, mask, None, FinalState(self.bridge(last), summary))

    def decode(
        self,
        memory: Memory,
        target_in: Int[Array, "B T"],
        key: PRNGKeyArray | None = None,
        *,
        weights: bool = False,
    ) -> tuple[Float[Array, "B T D"], Attentions | None]:
        """See `Model.decode`."""
        embedding_key, decoder_key, readout_key = keys_for(key, 3)
        B, T = target_in.shape
        embedded = dropout(self.embed_target(target_in), self.dropout, embedding_key)
        source, carry = self._begin(memory)
        position = jnp.broadcast_to(jnp.arange(T)[None], (B, T))
        _, outputs = self.decoder.unroll(embedded, carry, source, position, decoder_key)
        hidden, cross = self.decoder.readout(embedded, outputs, source, position)
        return dropout(hidden, self.dropout, readout_key), _record(cross) if weights else None

    def init_cache(
        self, memory: Memory, length: int, beam: int = 1, *, independent: bool = False
    ) -> tuple[CrossCache, Cache]:
        """See `Model.init_cache`."""
        source, carry = self._begin(memory)
        carry = jax.tree.map(lambda leaf: jnp.repeat(leaf[:, None], beam, 1), carry)
        return source, Cache(carry, jnp.zeros(len(memory.states), jnp.int32))

    def prepare_for_decoding(self) -> None:
        """See `Model.prepare_for_decoding`: there is nothing."""

    def step(
        self, tokens: Int[Array, "R"], cross_cache: CrossCache, cache: Cache, *, weights: bool = False
    ) -> tuple[Float[Array, "R D"], Cache, Attentions | None]:
        """See `Model.step`."""
        R, B = len(tokens), len(cache.position)
        embedded, position = self.embed_target(tokens[:, None]), jnp.repeat(cache.position, R // B)[:, None]
        carry = jax.tree.map(lambda leaf: leaf.reshape(R, *leaf.shape[2:]), cache.carry)
        carry, outputs = self.decoder.unroll(embedded, carry, cross_cache, position, None)
        carry = jax.tree.map(lambda leaf: leaf.reshape(B, R // B, *leaf.shape[1:]), carry)
        hidden, cross = self.decoder.readout(embedded, outputs, cross_cache, position)
        record = _record(cross) if weights else None
        if record is not None and record.cross is not None:
            record = record._replace(cross=record.cross[:, :, :, 0])
        return hidden[:, 0], Cache(carry, cache.position + 1), record

    def reorder(self, cache: Cache, parent: Int[Array, "B K"]) -> Cache:
        """See `Model.reorder`."""
        sentence = jnp.arange(len(parent))[:, None]
        return cache._replace(carry=jax.tree.map(lambda leaf: leaf[sentence, parent], cache.carry))

    def _begin(self, memory: Memory) -> tuple[CrossCache, Carry]:
        mechanism = self.decoder.mechanism
        keys = memory.states[..., :0] if mechanism is None else mechanism.project(memory.states)
        source = CrossCache(keys, memory.states, memory.mask, memory.final_state.summary)
        return source, self.decoder.begin(memory.final_state.start)


def _record(cross: Array | None) -> Attentions:
    return Attentions(None, None, None if cross is None else cross[:, None, None])


class Bridge(nnx.Module):
    """From the encoder's last states to the decoder's first.

    luong: each layer's own, handed over (Sutskever 2014; Luong 2015); from both directions through a linear map and
    tanh. bahdanau: tanh(W_s h) of the backward state at the first word (appendix A.2.2), or of the only state there is.
    Once a sentence and of states, so always in float32.
    """

    def __init__(self, model: config.Rnn, *, rngs: nnx.Rngs):
        self.copies = model.decoder == "luong" and not model.bidirectional
        both = model.decoder == "luong" and model.bidirectional
        leaves = 2 if model.cell == "lstm" else 1
        inputs = (2 if both else 1) * (model.encoder_width or model.width)
        glorot = nnx.initializers.glorot_uniform()
        count = 0 if self.copies else leaves * model.decoder_layers
        self.maps = nnx.List([nnx.Param(glorot(rngs.params(), (inputs, model.width))) for _ in range(count)])
        self.depth, self.leaves, self.backward_only = model.decoder_layers, leaves, not both

    def __call__(self, last: list[tuple[recurrent.State, ...]]) -> tuple[recurrent.State, ...]:
        """The decoder's first state, layer by layer."""
        if self.copies:
            return tuple(directions[0] for directions in last)
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
        return tuple(states)
