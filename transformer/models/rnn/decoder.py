"""Bridge, one of the two recurrent decoders, and the output layer, for training and for search."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from transformer.attention.changed import Changed
from transformer.models.interface import Attentions, Memory, Summands
from transformer.models.rnn import config
from transformer.models.rnn.bridge import Bridge, MeanBridge
from transformer.models.rnn.decoders import Bahdanau, Carry, CrossCache, Luong
from transformer.nn.dropout import dropout, split_key
from transformer.nn.layers import Embedding, Output
from transformer.nn.precision import Precision
from transformer.nn.remat import Remat


class Cache(NamedTuple):
    """The decoder's state between two tokens, [B, K] hypotheses."""

    carry: Carry
    position: Int[Array, "B"]
    """Number of tokens so far."""


class Decoder(nnx.Module):
    """Implements `models.interface.Decoder`."""

    def __init__(
        self,
        model: config.Rnn,
        embed: Embedding,
        bridge: Bridge | MeanBridge,
        vocabulary: int,
        *,
        rngs: nnx.Rngs,
        remat: Remat = "none",
    ):
        self.embed_target, self.bridge = embed, bridge
        decoder = Luong if model.decoder == "luong" else Bahdanau
        self.decoder: Luong | Bahdanau = decoder(model, model.memory_width, rngs=rngs, remat=remat)
        own = model.tie == "none"
        self.output = Output(Embedding(vocabulary, self.decoder.width, rngs=rngs) if own else embed, bias=True)
        self.rate = model.dropout

    def decode(
        self,
        memory: Memory,
        target_in: Int[Array, "B T"],
        key: PRNGKeyArray | None = None,
        *,
        weights: bool = False,
    ) -> tuple[Float[Array, "B T D"], Attentions | None]:
        """Hidden states [B, T, D] that predict the token after each one of `target_in`, and the attention weights; see
        `models.interface.Decoder.decode`."""
        embedding_key, decoder_key, readout_key = split_key(key, 3)
        B, T = target_in.shape
        embedded = dropout(self.embed_target(target_in), self.rate, embedding_key)
        source, carry = self._begin(memory)
        position = jnp.broadcast_to(jnp.arange(T)[None], (B, T))
        _, outputs = self.decoder.unroll(embedded, carry, source, position, decoder_key)
        hidden, cross = self.decoder.readout(embedded, outputs, source, position, decoder_key)
        record = _record(cross)._replace(encoder=memory.attention) if weights else None
        return dropout(hidden, self.rate, readout_key), record

    def trace_decoder(
        self, memory: Memory, target_in: Int[Array, "B T"]
    ) -> tuple[Float[Array, "B T D"], list[Summands], list[Summands]]:
        """See `models.interface.Traces`. The values are what the context adds to the output layer's input before its
        nonlinearity; its contribution to the next state is left out."""
        hidden, attention = self.decode(memory, target_in, weights=True)
        if attention is None or attention.cross is None:
            return hidden, [], []
        return hidden, [], [Summands(attention.cross[:, 0], self.decoder.project_context(memory.states)[:, None])]

    def init_cache(
        self, memory: Memory, length: int, beam: int = 1, *, independent: bool = False
    ) -> tuple[CrossCache, Cache]:
        """See `Decoder.init_cache` of `models.interface`."""
        source, carry = self._begin(memory)
        carry = jax.tree.map(lambda leaf: jnp.repeat(leaf[:, None], beam, 1), carry)
        return source, Cache(carry, jnp.zeros(len(memory.states), jnp.int32))

    def prepare_for_decoding(self) -> None:
        """See `Decoder.prepare_for_decoding` of `models.interface`: steps share no computation on parameters."""

    def change_attention(self, change: Callable[[Array], Array]) -> None:
        """See `models.interface.Changes`."""
        assert self.decoder.mechanism is not None
        self.decoder.mechanism = Changed(self.decoder.mechanism, change)

    def step(
        self, tokens: Int[Array, "R"], cross_cache: CrossCache, cache: Cache, *, weights: bool = False
    ) -> tuple[Float[Array, "R D"], Cache, Attentions | None]:
        """See `Decoder.step` of `models.interface`."""
        R, B = len(tokens), len(cache.position)
        embedded, position = self.embed_target(tokens[:, None]), jnp.repeat(cache.position, R // B)[:, None]
        carry = jax.tree.map(lambda leaf: leaf.reshape(R, *leaf.shape[2:]), cache.carry)
        carry, outputs = self.decoder.unroll(embedded, carry, cross_cache, position, None)
        carry = jax.tree.map(lambda leaf: leaf.reshape(B, R // B, *leaf.shape[1:]), carry)
        hidden, cross = self.decoder.readout(embedded, outputs, cross_cache, position, None)
        record = _record(cross) if weights else None
        if record is not None and record.cross is not None:
            record = record._replace(cross=record.cross[:, :, :, 0])
        return hidden[:, 0], Cache(carry, cache.position + 1), record

    def reorder(self, cache: Cache, parent: Int[Array, "B K"]) -> Cache:
        """See `Decoder.reorder` of `models.interface`."""
        sentence = jnp.arange(len(parent))[:, None]
        return cache._replace(carry=jax.tree.map(lambda leaf: leaf[sentence, parent], cache.carry))

    def _begin(self, memory: Memory) -> tuple[CrossCache, Carry]:
        mechanism = self.decoder.mechanism
        keys = memory.states[..., :0] if mechanism is None else mechanism.project(memory.states)
        states, summary = self.bridge(memory)
        return CrossCache(keys, memory.states, memory.mask, summary), self.decoder.init_carry(states)


def build_decoder(
    model: config.Rnn,
    vocabulary: int,
    *,
    rngs: nnx.Rngs,
    precision: Precision = "float32",
    remat: Remat = "none",
) -> Decoder:
    """A decoder for any encoder, with its own embedding, which `tie` shares with the output layer unless it
    is none. Its first states are computed from the memory, see `MeanBridge`."""
    embed = Embedding(vocabulary, model.embedding, rngs=rngs, precision=precision)
    bridge = MeanBridge(model, model.memory_width, rngs=rngs)
    return Decoder(model, embed, bridge, vocabulary, rngs=rngs, remat=remat)


def _record(cross: Array | None) -> Attentions:
    """The weights [B, T, S] of the only attention, with axes of layers and heads."""
    return Attentions(None, None, None if cross is None else cross[:, None, None])
