"""The Transformer's decoder (Vaswani et al. 2017, section 3.1), for training and for search."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from transformer.attention import histories, masks
from transformer.attention.changed import Changed
from transformer.attention.histories import Cache
from transformer.attention.multihead import MultiHead
from transformer.models.interface import Attentions, Memory, Summands
from transformer.models.transformer import config
from transformer.models.transformer.encoder import embedding, feedforward, residual
from transformer.models.transformer.trace import trace
from transformer.nn.dropout import dropout, split_key
from transformer.nn.layers import Embedding, Output, Positions, final_norm
from transformer.nn.precision import Precision
from transformer.nn.remat import Remat
from transformer.nn.stack import run, stack, unstack


class CrossCache(NamedTuple):
    """Keys and values of the memory, one pair for each layer; G heads of keys and values, see `attention.multihead`."""

    keys: tuple[Float[Array, "B G S P"], ...]
    values: tuple[Float[Array, "B G S K"], ...]
    mask: Bool[Array, "B S"]


class DecoderLayer(nnx.Module):
    """Self-attention, attention to the memory and a feed-forward layer, each with a residual connection."""

    def __init__(self, model: config.Transformer, *, rngs: nnx.Rngs):
        rate = model.attention_dropout
        own, cross = model.attention_of("decoder"), model.attention_of("cross")
        self.attention = MultiHead(own, model.width, rate, positions=model.positions, causal=True, rngs=rngs)
        self.cross = MultiHead(cross, model.width, rate, rngs=rngs)
        self.feedforward = feedforward(model, rngs)
        self.attention_residual = residual(model, rngs)
        self.cross_residual = residual(model, rngs)
        self.feedforward_residual = residual(model, rngs)

    def __call__(
        self,
        x: Float[Array, "B T D"],
        memory: Float[Array, "B S D"],
        mask: Bool[Array, "B 1 #T S"],
        own_mask: Bool[Array, "#B 1 #T T"],
        key: PRNGKeyArray | None,
        *,
        weights: bool = True,
    ) -> tuple[Float[Array, "B T D"], tuple[Float[Array, "B H T T"] | None, Float[Array, "B H T S"] | None]]:
        """All positions at once: the layer's output, and, if requested, the weights of both attentions."""
        # Positions and lengths are for windows, which packed rows do not have.
        keys, position, lengths = split_key(key, 6), jnp.arange(x.shape[1])[None], mask[:, 0, 0].sum(-1)
        y = self.attention_residual.enter(x)
        own = self.attention.project(y, position)
        y, own_weights = self.attention(y, *own, own_mask, position, None, keys[0], weights=weights)
        x = self.attention_residual.add(x, y, keys[2])
        y, cross_weights = self.cross(
            self.cross_residual.enter(x), *self.cross.project(memory), mask, position, lengths, keys[1], weights=weights
        )
        x = self.cross_residual.add(x, y, keys[3])
        y = self.feedforward(self.feedforward_residual.enter(x), keys[4])
        return self.feedforward_residual.add(x, y, keys[5]), (own_weights, cross_weights)

    def step(
        self,
        x: Float[Array, "B N D"],
        memory: tuple[Float[Array, "B G S P"], Float[Array, "B G S K"]],
        mask: Bool[Array, "B 1 1 S"],
        cache: tuple[Float[Array, "B M N T O"], Float[Array, "B M N T V"]],
        path: Bool[Array, "B N N T"] | None,
        position: Int[Array, "B"],
    ) -> tuple[Float[Array, "B N D"], Any, tuple[Float[Array, "B N H T"] | None, Float[Array, "B N H S"]]]:
        """The newest token of each hypothesis: the layer's output, the cache with its keys and values at `position`,
        and the weights of both attentions. `path` is that of `MultiHead.attend_along_beam`."""
        positions = jnp.broadcast_to(position[:, None], x.shape[:2])
        y = self.attention_residual.enter(x)
        keys, values = self.attention.mechanism.remember(cache, self.attention.project(y, positions), position)
        y, own_weights = self.attention.attend_along_beam(y, keys, values, path, positions)
        x = self.attention_residual.add(x, y, None)
        # The hypotheses of a sentence are the queries of one attention, so that the memory is not copied for each.
        y, cross_weights = self.cross(self.cross_residual.enter(x), *memory, mask, positions, mask[:, 0, 0].sum(-1))
        assert cross_weights is not None
        x = self.cross_residual.add(x, y, None)
        y = self.feedforward(self.feedforward_residual.enter(x))
        x = self.feedforward_residual.add(x, y, None)
        own = None if own_weights is None else own_weights.swapaxes(1, 2)
        return x, (keys, values), (own, cross_weights.swapaxes(1, 2))


class Decoder(nnx.Module):
    """A stack of layers over embeddings with positions, and the output layer; implements `models.interface.Decoder`."""

    def __init__(
        self,
        model: config.Transformer,
        embed: Embedding,
        output: Output,
        positions: Positions,
        *,
        rngs: nnx.Rngs,
        remat: Remat = "none",
    ):
        self.embed_target, self.output, self.target_positions = embed, output, positions
        self.decoder = stack(partial(_layer, model), model.decoder_layers, rngs)
        last = final_norm(model.width, model.norm_kind, epsilon=model.norm_epsilon) if model.norm == "pre" else None
        self.decoder_norm = last
        self.rate, self.unroll, self.remat = model.dropout, model.unroll, remat
        self.sums = model.attention_of("decoder").mechanism == "linear"
        self.layer: Any = nnx.data(None)  # the unstacked layers, see `prepare_for_decoding`

    def decode(
        self,
        memory: Memory,
        target_in: Int[Array, "B T"],
        key: PRNGKeyArray | None = None,
        *,
        weights: bool = False,
        segments: Int[Array, "B T"] | None = None,
    ) -> tuple[Float[Array, "B T D"], Attentions | None]:
        """Hidden states [B, T, D] that predict the token after each one of `target_in`, and the attention weights; see
        `models.interface.PackedModel.decode`."""
        return self._read(memory, target_in, key, weights=weights, segments=segments, causal=True)

    def attend_in_full_context(
        self,
        memory: Memory,
        target_in: Int[Array, "B T"],
        key: PRNGKeyArray | None = None,
        *,
        segments: Int[Array, "B T"] | None = None,
    ) -> Float[Array, "B L H T S"]:
        """See `models.interface.FullContext`."""
        _, attention = self._read(memory, target_in, key, weights=True, segments=segments, causal=False)
        assert attention is not None
        assert attention.cross is not None
        return attention.cross

    def _read(
        self,
        memory: Memory,
        target_in: Int[Array, "B T"],
        key: PRNGKeyArray | None,
        *,
        weights: bool,
        segments: Int[Array, "B T"] | None,
        causal: bool,
    ) -> tuple[Float[Array, "B T D"], Attentions | None]:
        """All positions at once; without `causal`, self-attention also sees the tokens to the right."""
        embedding_key, layers_key = split_key(key, 2)
        positions = None if segments is None else masks.positions(segments)
        x = dropout(self.target_positions(self.embed_target(target_in), positions), self.rate, embedding_key)
        mask = memory.mask[:, None, None]
        # Padding is to the right of every token, so that the causal mask hides it.
        own_mask = masks.future(target_in.shape[1]) if causal else masks.padding(target_in)
        if segments is not None:
            assert memory.segments is not None
            mask = masks.same_segment(segments, memory.segments)
            own_mask = own_mask & masks.same_segment(segments, segments)

        def body(layer: DecoderLayer, x: Array, key: PRNGKeyArray | None, _: None) -> tuple[Array, Any]:
            x, attention = layer(x, memory.states, mask, own_mask, key, weights=weights)
            return x, attention if weights else None

        x, attention = run(self.decoder, body, x, layers_key, unroll=self.unroll, how=self.remat)
        if self.decoder_norm is not None:
            x = self.decoder_norm(x).astype(x.dtype)
        if not weights:
            return x, None
        own, cross = (w.swapaxes(0, 1) for w in attention)
        return x, Attentions(memory.attention, own, cross)

    def trace_decoder(
        self, memory: Memory, target_in: Int[Array, "B T"]
    ) -> tuple[Float[Array, "B T D"], list[Summands], list[Summands]]:
        """See `models.interface.Traces`."""
        x, mask = self.target_positions(self.embed_target(target_in)), memory.mask[:, None, None]
        future = masks.future(target_in.shape[1])
        position, lengths = jnp.arange(x.shape[1])[None], memory.mask.sum(-1)
        own, cross = [], []
        for layer in unstack(self.decoder):
            x, summands = trace(layer.attention_residual, layer.attention, x, None, future, position, None)
            own.append(summands)
            x, summands = trace(layer.cross_residual, layer.cross, x, memory.states, mask, position, lengths)
            cross.append(summands)
            x = layer.feedforward_residual.add(x, layer.feedforward(layer.feedforward_residual.enter(x)), None)
        if self.decoder_norm is not None:
            x = self.decoder_norm(x).astype(x.dtype)
        return x, own, cross

    def init_cache(
        self, memory: Memory, length: int, beam: int = 1, *, independent: bool = False
    ) -> tuple[CrossCache, Cache]:
        """See `Decoder.init_cache` of `models.interface`."""
        B, _, D = memory.states.shape
        tokens = jax.ShapeDtypeStruct((B, length, D), memory.states.dtype)
        cross_cache, cache = [], []
        for layer in unstack(self.decoder):
            cross_cache.append(layer.cross.project(memory.states))
            own = jax.eval_shape(layer.attention.project, tokens, jnp.arange(length)[None])
            cache.append(layer.attention.mechanism.room(*own, beam))
        (keys, values), (own_keys, own_values) = (tuple(zip(*pairs, strict=True)) for pairs in (cross_cache, cache))
        writer = None if independent or self.sums else jnp.zeros((B, beam, length), jnp.int32)
        return CrossCache(keys, values, memory.mask), Cache(own_keys, own_values, writer, jnp.zeros(B, jnp.int32))

    def prepare_for_decoding(self) -> None:
        """See `Decoder.prepare_for_decoding` of `models.interface`: unstacks the layers, which a loop would otherwise
        slice at every step."""
        self.layer = nnx.data(unstack(self.decoder))

    def change_attention(self, change: Callable[[Array], Array]) -> None:
        """See `models.interface.Changes`."""
        self.prepare_for_decoding()
        for layer in self.layer:
            layer.cross.mechanism = Changed(layer.cross.mechanism, change)

    def step(
        self, tokens: Int[Array, "R"], cross_cache: CrossCache, cache: Cache, *, weights: bool = False
    ) -> tuple[Float[Array, "R D"], Cache, Attentions | None]:
        """See `Decoder.step` of `models.interface`."""
        B, _, N, _, _ = cache.keys[0].shape
        positions = jnp.repeat(cache.position, N)[:, None]
        x = self.target_positions(self.embed_target(tokens[:, None]), positions).reshape(B, N, -1)
        mask, caches, attention = cross_cache.mask[:, None, None], [], []
        writer, path = histories.extend(cache)
        # A loop, not a scan: a scan would copy every layer's cache at every token.
        for index, layer in enumerate(self.layer or unstack(self.decoder)):
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
            own, cross = (
                None if w[0] is None else jnp.stack(w, 2).reshape(B * N, len(w), *w[0].shape[2:])
                for w in zip(*attention, strict=True)
            )
            record = Attentions(None, own, cross)
        return x.reshape(B * N, -1), Cache(keys, values, writer, cache.position + 1), record

    def reorder(self, cache: Cache, parent: Int[Array, "B N"]) -> Cache:
        """See `Decoder.reorder` of `models.interface`: only the histories change; no keys or values are copied, except
        the sums of linear attention."""
        if self.sums:
            keys, values = jax.tree.map(
                lambda sums: jnp.take_along_axis(sums, parent[:, None, :, None, None], 2), (cache.keys, cache.values)
            )
            return cache._replace(keys=keys, values=values)
        return histories.reorder(cache, parent)


def build_decoder(
    model: config.Transformer,
    vocabulary: int,
    *,
    rngs: nnx.Rngs,
    precision: Precision = "float32",
    remat: Remat = "none",
) -> Decoder:
    """A decoder with its own embedding, which `tie` shares with the output layer unless it is none."""
    embed = embedding(model, vocabulary, rngs, precision)
    own = Embedding(vocabulary, model.width, rngs=rngs) if model.tie == "none" else embed
    output = Output(own, bias=model.output_bias)
    positions = Positions(model.positions, model.max_length, model.width, rngs=rngs)
    return Decoder(model, embed, output, positions, rngs=rngs, remat=remat)


def _layer(model: config.Transformer, rngs: nnx.Rngs) -> DecoderLayer:
    return DecoderLayer(model, rngs=rngs)
