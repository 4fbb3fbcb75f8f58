"""A decoder-only model (Radford et al. 2019) as a sequence-to-sequence model.

Encoding the source means reading the prefix; its keys and values are kept. Decoding continues from them.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from transformer.attention import histories, masks
from transformer.attention.continued import Prefix
from transformer.attention.histories import Cache
from transformer.models.gpt import config
from transformer.models.gpt.layer import Layer
from transformer.models.interface import Attentions, Memory
from transformer.nn.dropout import dropout, split_key
from transformer.nn.layers import Embedding, Output, Positions, final_norm
from transformer.nn.precision import Precision
from transformer.nn.remat import Remat
from transformer.nn.stack import run, stack, unstack


class CrossCache(NamedTuple):
    """Keys and values of the source, one pair for each layer; G heads of keys and values, see `attention.multihead`."""

    keys: tuple[Float[Array, "B G S P"], ...]
    values: tuple[Float[Array, "B G S K"], ...]
    mask: Bool[Array, "B S"]


class Gpt(nnx.Module):
    """A stack of layers over embeddings with positions; implements `models.interface.PackedModel`.

    The memory's final state are the keys [B, L, G, S, P] and values [B, L, G, S, K] of the source.
    """

    def __init__(
        self,
        model: config.Gpt,
        source_vocabulary: int,
        target_vocabulary: int,
        *,
        rngs: nnx.Rngs,
        precision: Precision = "float32",
        remat: Remat = "none",
    ):
        D = model.width
        # The order in which parameters are drawn: a seed gives the same model in every version.
        how: Any = {"precision": precision, "scaled": model.scale_embeddings}
        self.embed_target = Embedding(target_vocabulary, D, rngs=rngs, **how)
        self.embed_source = self.embed_target
        if model.tie != "all":
            self.embed_source = Embedding(source_vocabulary, D, rngs=rngs, **how)
        own = Embedding(target_vocabulary, D, rngs=rngs) if model.tie == "none" else self.embed_target
        self.output = Output(own, bias=model.output_bias)
        self.positions = Positions(model.positions, 2 * model.max_length, D, rngs=rngs)
        self.layers = stack(partial(_layer, model), model.layers, rngs)
        self.norm = final_norm(D, epsilon=model.norm_epsilon) if model.norm == "pre" else None
        self.causal = model.prefix == "causal"
        self.rate, self.unroll, self.remat = model.dropout, model.unroll, remat
        self.layer: Any = nnx.data(None)  # the unstacked layers, see `prepare_for_decoding`
        self.change: Callable[[Array], Array] | None = None

    def embed(self, source: Int[Array, "B S"]) -> Float[Array, "B S D"]:
        """See `models.interface.Embeds`."""
        return self.embed_source(source)

    def encode(
        self,
        source: Int[Array, "B S"],
        key: PRNGKeyArray | None = None,
        *,
        weights: bool = False,
        embedded: Float[Array, "B S D"] | None = None,
        segments: Int[Array, "B S"] | None = None,
    ) -> Memory:
        """Read the prefix; see `models.interface.PackedModel.encode`."""
        embedding_key, layers_key = split_key(key, 2)
        position = _positions(segments, source.shape[1])
        x = self.embed(source) if embedded is None else embedded
        x = self.positions(x, None if segments is None else position)
        x = dropout(x, self.rate, embedding_key)
        mask = masks.padding(source) if segments is None else masks.same_segment(segments, segments)
        if self.causal:
            mask = mask & masks.future(source.shape[1])
        places = None if segments is None else position

        def body(layer: Layer, x: Array, key: PRNGKeyArray | None, _: None) -> tuple[Array, Any]:
            x, own, attention = layer(x, None, mask, position, places, key, weights=weights)
            return x, (own, attention if weights else None)

        x, (own, attention) = run(self.layers, body, x, layers_key, unroll=self.unroll, how=self.remat)
        kept, attention = jax.tree.map(lambda of: of.swapaxes(0, 1), (own, attention))
        return Memory(self._normalize(x), source != 0, attention, kept, segments)

    def without_source(self, rows: int) -> Memory:
        """See `models.interface.LanguageModel`."""
        nothing = jnp.zeros((rows, 0, self.positions.width), self.embed_target.precision)
        own = [layer.attention.project(nothing, jnp.zeros((1, 0), jnp.int32)) for layer in unstack(self.layers)]
        keys, values = (jnp.stack(of, 1) for of in zip(*own, strict=True))
        return Memory(nothing, jnp.zeros((rows, 0), bool), None, (keys, values))

    def decode(
        self,
        memory: Memory,
        target_in: Int[Array, "B T"],
        key: PRNGKeyArray | None = None,
        *,
        weights: bool = False,
        segments: Int[Array, "B T"] | None = None,
    ) -> tuple[Float[Array, "B T D"], Attentions | None]:
        """Continue the prefix by the target; see `models.interface.PackedModel.decode`."""
        (B, S), T = memory.mask.shape, target_in.shape[1]
        embedding_key, layers_key = split_key(key, 2)
        before, own = memory.mask[:, None, None], masks.future(T)
        if segments is not None:
            assert memory.segments is not None
            before, own = masks.same_segment(segments, memory.segments), own & masks.same_segment(segments, segments)
        mask = jnp.concatenate([jnp.broadcast_to(before, (B, 1, T, S)), jnp.broadcast_to(own, (B, 1, T, T))], -1)
        # The target's positions follow those of its own source, whatever the padding between them.
        position = before.sum(-1)[:, 0] + _positions(segments, T)
        places = jnp.concatenate([jnp.broadcast_to(_positions(memory.segments, S), (B, S)), position], 1)
        x = dropout(self.positions(self.embed_target(target_in), position), self.rate, embedding_key)
        kept = jax.tree.map(lambda of: of.swapaxes(0, 1), memory.final_state)

        def body(layer: Layer, x: Array, key: PRNGKeyArray | None, before: Any) -> tuple[Array, Any]:
            x, _, attention = layer(x, before, mask, position, places, key, weights=weights)
            return x, attention if weights else None

        x, attention = run(self.layers, body, x, layers_key, kept, unroll=self.unroll, how=self.remat)
        x = self._normalize(x)
        if not weights:
            return x, None
        attention = attention.swapaxes(0, 1)
        return x, Attentions(memory.attention, attention[..., S:], attention[..., :S])

    def init_cache(
        self, memory: Memory, length: int, beam: int = 1, *, independent: bool = False
    ) -> tuple[CrossCache, Cache]:
        """See `models.interface.Decoder.init_cache`."""
        B, depth = memory.final_state[0].shape[:2]
        keys, values = (tuple(of[:, index] for index in range(depth)) for of in memory.final_state)
        like = [jax.ShapeDtypeStruct((B, of.shape[2], length, of.shape[4]), of.dtype) for of in memory.final_state]
        rooms = [layer.attention.mechanism.room(*like, beam) for layer in unstack(self.layers)]
        own_keys, own_values = zip(*rooms, strict=True)
        writer = None if independent else jnp.zeros((B, beam, length), jnp.int32)
        return CrossCache(keys, values, memory.mask), Cache(own_keys, own_values, writer, jnp.zeros(B, jnp.int32))

    def prepare_for_decoding(self) -> None:
        """See `models.interface.Decoder.prepare_for_decoding`: unstacks the layers, which a loop would otherwise slice
        at every step."""
        self.layer = nnx.data(unstack(self.layers))

    def change_attention(self, change: Callable[[Array], Array]) -> None:
        """See `models.interface.Changes`: of the weights on the source; those on the target stay."""
        self.change = change

    def step(
        self, tokens: Int[Array, "R"], cross_cache: CrossCache, cache: Cache, *, weights: bool = False
    ) -> tuple[Float[Array, "R D"], Cache, Attentions | None]:
        """See `models.interface.Decoder.step`."""
        B, _, N, _, _ = cache.keys[0].shape
        position = jnp.repeat(cross_cache.mask.sum(-1) + cache.position, N)[:, None]
        x = self.positions(self.embed_target(tokens[:, None]), position).reshape(B, N, -1)
        (writer, path), caches, attention = histories.extend(cache), [], []
        # A loop, not a scan: a scan would copy every layer's cache at every token.
        for index, layer in enumerate(self.layer or unstack(self.layers)):
            prefix = Prefix(cross_cache.keys[index], cross_cache.values[index], cross_cache.mask)
            own = cache.keys[index], cache.values[index]
            x, new, used = layer.step(x, prefix, own, path, cache.position, self.change)
            caches.append(new)
            attention.append(used)
        keys, values = zip(*caches, strict=True)
        record = None
        if weights:
            S, every = cross_cache.mask.shape[1], jnp.stack(attention, 2)
            every = every.reshape(B * N, *every.shape[2:])
            record = Attentions(None, every[..., S:], every[..., :S])
        hidden = self._normalize(x).reshape(B * N, -1)
        return hidden, Cache(keys, values, writer, cache.position + 1), record

    def reorder(self, cache: Cache, parent: Int[Array, "B N"]) -> Cache:
        """See `models.interface.Decoder.reorder`."""
        return histories.reorder(cache, parent)

    def _normalize(self, x: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
        return x if self.norm is None else self.norm(x).astype(x.dtype)


def _positions(segments: Int[Array, "B T"] | None, length: int) -> Int[Array, "#B T"]:
    """Of tokens in their own sentences."""
    return jnp.arange(length)[None] if segments is None else masks.positions(segments)


def _layer(model: config.Gpt, rngs: nnx.Rngs) -> Layer:
    return Layer(model, rngs=rngs)
