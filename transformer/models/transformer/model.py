"""The Transformer (Vaswani et al. 2017)."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from transformer.attention import masks
from transformer.attention.config import Attention
from transformer.attention.multihead import MultiHead
from transformer.models.interface import Attentions, Memory
from transformer.models.transformer import config
from transformer.nn import layers
from transformer.nn.dropout import dropout


class CrossCache(NamedTuple):
    """What stays the same while a sentence is decoded: keys and values of the memory, one pair a layer."""

    keys: tuple[Float[Array, "B H S P"], ...]
    values: tuple[Float[Array, "B H S K"], ...]
    mask: Bool[Array, "B S"]


class Cache(NamedTuple):
    """Keys and values of the tokens so far, one pair a layer. They stay where they were written: a sentence's N
    hypotheses are a tree, and each remembers which of them wrote the tokens on its own path."""

    keys: tuple[Float[Array, "B H N T O"], ...]
    values: tuple[Float[Array, "B H N T K"], ...]
    writer: Int[Array, "B N T"] | None
    """Who wrote token t of hypothesis n; None: always itself."""
    position: Int[Array, "B"]
    """Tokens so far."""


def _of(model: config.Transformer, place: str) -> Attention:
    """The attention of one of the three places."""
    if place in model.attention.places:
        return model.attention
    return Attention(heads=model.attention.heads, fused=model.attention.fused)


class EncoderLayer(nnx.Module):
    """Self-attention, then feed-forward, each in a residual (paper, section 3.1)."""

    def __init__(self, model: config.Transformer, *, rngs: nnx.Rngs):
        self.attention = MultiHead(_of(model, "encoder"), model.width, model.attention_dropout, rngs=rngs)
        self.feedforward = layers.FeedForward(model, rngs=rngs)
        self.attention_residual = layers.Residual(model, rngs=rngs)
        self.feedforward_residual = layers.Residual(model, rngs=rngs)

    def __call__(
        self, x: Float[Array, "B S D"], mask: Bool[Array, "B 1 1 S"], key: PRNGKeyArray | None, *, weights: bool = True
    ) -> tuple[Float[Array, "B S D"], Float[Array, "B H S S"] | None]:
        keys, position, lengths = layers.keys_for(key, 4), jnp.arange(x.shape[1])[None], mask[:, 0, 0].sum(-1)
        x, used = self.attention_residual(
            x,
            lambda y: self.attention(y, *self.attention.project(y), mask, position, lengths, keys[0], weights=weights),
            keys[1],
        )
        x, _ = self.feedforward_residual(x, lambda y: (self.feedforward(y, keys[2]), None), keys[3])
        return x, used


class DecoderLayer(nnx.Module):
    """Masked self-attention, attention over the memory, feed-forward (paper, section 3.1)."""

    def __init__(self, model: config.Transformer, *, rngs: nnx.Rngs):
        self.attention = MultiHead(_of(model, "decoder"), model.width, model.attention_dropout, rngs=rngs)
        self.cross = MultiHead(_of(model, "cross"), model.width, model.attention_dropout, rngs=rngs)
        self.feedforward = layers.FeedForward(model, rngs=rngs)
        self.attention_residual = layers.Residual(model, rngs=rngs)
        self.cross_residual = layers.Residual(model, rngs=rngs)
        self.feedforward_residual = layers.Residual(model, rngs=rngs)

    def __call__(
        self,
        x: Float[Array, "B T D"],
        memory: Float[Array, "B S D"],
        mask: Bool[Array, "B 1 1 S"],
        future: Bool[Array, "1 1 T T"],
        key: PRNGKeyArray | None,
        *,
        weights: bool = True,
    ) -> tuple[Float[Array, "B T D"], tuple[Float[Array, "B H T T"] | None, Float[Array, "B H T S"] | None]]:
        """All positions at once; collects the weights of both attentions, where they are wanted."""
        keys, position, lengths = layers.keys_for(key, 6), jnp.arange(x.shape[1])[None], mask[:, 0, 0].sum(-1)
        return self._sublayers(
            x,
            lambda y: self.attention(y, *self.attention.project(y), future, position, None, keys[0], weights=weights),
            lambda y: self.cross(y, *self.cross.project(memory), mask, position, lengths, keys[1], weights=weights),
            keys[2:],
        )

    def step(
        self,
        x: Float[Array, "B N D"],
        memory: tuple[Float[Array, "B H S P"], Float[Array, "B H S K"]],
        mask: Bool[Array, "B 1 1 S"],
        cache: tuple[Float[Array, "B H N T O"], Float[Array, "B H N T K"]],
        path: Bool[Array, "B N N T"] | None,
        position: Int[Array, "B"],
    ) -> tuple[Float[Array, "B N D"], Any, tuple[Float[Array, "B N H T"], Float[Array, "B N H S"]]]:
        """One position more; the new keys and values go into the cache at `position`. `path` says which tokens of which
        hypotheses each of them goes on from; None: of its own."""
        B, N, _ = x.shape
        sentence, place = jnp.arange(B), jnp.broadcast_to(position[:, None], (B, N))

        def own(y: Array) -> tuple[Array, Any]:
            new = self.attention.project(y)
            keys, values = (c.at[sentence, :, :, position].set(n) for c, n in zip(cache, new, strict=True))
            y, weights = self.attention.attend_along_beam(y, keys, values, path, place)
            return y, ((keys, values), weights.swapaxes(1, 2))

        def cross(y: Array) -> tuple[Array, Any]:
            # The hypotheses of a sentence are its queries, so that the memory is never copied for each.
            y, weights = self.cross(y, *memory, mask, place, mask[:, 0, 0].sum(-1))
            assert weights is not None
            return y, weights.swapaxes(1, 2)

        x, ((cache, own_weights), cross_weights) = self._sublayers(x, own, cross, [None] * 4)
        return x, cache, (own_weights, cross_weights)

    def _sublayers(
        self,
        x: Array,
        own: Callable[[Array], tuple[Array, Any]],
        cross: Callable[[Array], tuple[Array, Any]],
        keys: list[PRNGKeyArray | None],
    ) -> tuple[Array, tuple[Any, Any]]:
        x, of_own = self.attention_residual(x, own, keys[0])
        x, of_cross = self.cross_residual(x, cross, keys[1])
        x, _ = self.feedforward_residual(x, lambda y: (self.feedforward(y, keys[2]), None), keys[3])
        return x, (of_own, of_cross)


class Transformer(nnx.Module):
    """Encoder and decoder stacks; implements `models.interface.Model`."""

    def __init__(self, model: config.Transformer, source_vocabulary: int, target_vocabulary: int, *, rngs: nnx.Rngs):
        D, pre = model.width, model.norm == "pre"
        self.embed_target = layers.Embedding(target_vocabulary, D, rngs=rngs)
        self.embed_source = (
            self.embed_target if model.tie == "all" else layers.Embedding(source_vocabulary, D, rngs=rngs)
        )
        self.output = layers.Output(
            layers.Embedding(target_vocabulary, D, rngs=rngs) if model.tie == "none" else self.embed_target
        )
        self.source_positions = layers.Positions(model.positions, model.max_length, D, rngs=rngs)
        self.target_positions = layers.Positions(model.positions, model.max_length, D, rngs=rngs)
        self.encoder = layers.stack(lambda r: EncoderLayer(model, rngs=r), model.encoder_layers, rngs)
        self.decoder = layers.stack(lambda r: DecoderLayer(model, rngs=r), model.decoder_layers, rngs)
        self.encoder_norm = nnx.LayerNorm(D, rngs=rngs) if pre else None
        self.decoder_norm = nnx.LayerNorm(D, rngs=rngs) if pre else None
        self.dropout, self.unroll, self.remat = model.dropout, model.unroll, "none"
        self.layer: Any = nnx.data(None)  # what `prepare_for_decoding` makes

    def prepare_for_decoding(self) -> None:
        """See `Model.prepare_for_decoding`: unstacks the decoder's layers, which a loop would otherwise slice at every
        step."""
        self.layer = nnx.data(layers.unstack(self.decoder))

    def encode(self, source: Int[Array, "B S"], key: PRNGKeyArray | None = None, *, weights: bool = False) -> Memory:
        """See `Model.encode`."""
        embedding_key, layers_key = layers.keys_for(key, 2)
        x = dropout(self.source_positions(self.embed_source(source)), self.dropout, embedding_key)
        mask = masks.padding(source)

        def body(layer: EncoderLayer, x: Array, key: PRNGKeyArray | None, _: None) -> tuple[Array, Any]:
            x, attention = layer(x, mask, key, weights=weights)
            return x, attention if weights else None

        x, attention = layers.run(self.encoder, body, x, layers_key, unroll=self.unroll, how=self.remat)
        if self.encoder_norm is not None:
            x = self.encoder_norm(x).astype(x.dtype)
        return Memory(x, mask[:, 0, 0], attention.swapaxes(0, 1) if weights else None)

    def decode(
        self,
        memory: Memory,
        target_in: Int[Array, "B T"],
        key: PRNGKeyArray | None = None,
        *,
        weights: bool = False,
    ) -> tuple[Float[Array, "B T D"], Attentions | None]:
        """See `Model.decode`."""
        embedding_key, layers_key = layers.keys_for(key, 2)
        x = dropout(self.target_positions(self.embed_target(target_in)), self.dropout, embedding_key)
        mask, future = memory.mask[:, None, None], masks.future(target_in.shape[1])

        def body(layer: DecoderLayer, x: Array, key: PRNGKeyArray | None, _: None) -> tuple[Array, Any]:
            x, attention = layer(x, memory.states, mask, future, key, weights=weights)
            return x, attention if weights else None

        x, attention = layers.run(self.decoder, body, x, layers_key, unroll=self.unroll, how=self.remat)
        if self.decoder_norm is not None:
            x = self.decoder_norm(x).astype(x.dtype)
        if not weights:
            return x, None
        own, cross = (w.swapaxes(0, 1) for w in attention)
        return x, Attentions(memory.attention, own, cross)

    def init_cache(
        self, memory: Memory, length: int, beam: int = 1, *, independent: bool = False
    ) -> tuple[CrossCache, Cache]:
        """See `Model.init_cache`."""
        B, _, D = memory.states.shape
        tokens = jax.ShapeDtypeStruct((B * beam, length, D), memory.states.dtype)
        fixed, cache = [], []
        for layer in layers.unstack(self.decoder):
            fixed.append(layer.cross.project(memory.states))
            own = jax.eval_shape(layer.attention.project, tokens)
            cache.append([jnp.zeros((B, of.shape[1], beam, *of.shape[2:]), of.dtype) for of in own])
        (keys, values), (own_keys, own_values) = (tuple(zip(*pairs, strict=True)) for pairs in (fixed, cache))
        nobody = None if independent else jnp.zeros((B, beam, length), jnp.int32)
        return CrossCache(keys, values, memory.mask), Cache(own_keys, own_values, nobody, jnp.zeros(B, jnp.int32))

    def step(
        self, tokens: Int[Array, "R"], cross_cache: CrossCache, cache: Cache, *, weights: bool = False
    ) -> tuple[Float[Array, "R D"], Cache, Attentions | None]:
        """See `Model.step`."""
        B, _, N, T, _ = cache.keys[0].shape
        x = self.target_positions(self.embed_target(tokens[:, None]), jnp.repeat(cache.position, N)).reshape(B, N, -1)
        mask, caches, attention = cross_cache.mask[:, None, None], [], []
        writer = path = None
        if cache.writer is not None:
            now = jnp.arange(T)[None] == cache.position[:, None]
            writer = jnp.where(now[:, None], jnp.arange(N)[None, :, None], cache.writer)
            path = writer[:, :, None] == jnp.arange(N)[None, None, :, None]
        # A loop, not a scan: a scan would copy every layer's cache at every token.
        for index, layer in enumerate(self.layer or layers.unstack(self.decoder)):
            x, new, used = layer.step(
                x,
                (cross_cache.keys[index], cross_cache.values[index]),
                mask,
                (cache.keys[index], cache.values[index]),
                path,
                cache.position,
            )
            caches.append(new)
            attention.append(used)
        if self.decoder_norm is not None:
            x = self.decoder_norm(x)
        keys, values = zip(*caches, strict=True)
        record = None
        if weights:
            own, cross = (jnp.stack(w, 2).reshape(B * N, len(w), *w[0].shape[2:]) for w in zip(*attention, strict=True))
            record = Attentions(None, own, cross)
        return x.reshape(B * N, -1), Cache(keys, values, writer, cache.position + 1), record

    def reorder(self, cache: Cache, parent: Int[Array, "B N"]) -> Cache:
        """See `Model.reorder`: the paths change, and nothing is copied."""
        assert cache.writer is not None
        return cache._replace(writer=jnp.take_along_axis(cache.writer, parent[:, :, None], 1))
