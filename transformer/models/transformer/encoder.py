"""The Transformer's encoder (Vaswani et al. 2017, section 3.1)."""

from functools import partial
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from transformer.attention import masks
from transformer.attention.multihead import MultiHead
from transformer.models.interface import Memory, Summands
from transformer.models.transformer import config
from transformer.models.transformer.trace import trace
from transformer.nn.dropout import dropout, split_key
from transformer.nn.layers import Embedding, FeedForward, Positions, Residual, final_norm
from transformer.nn.precision import Precision
from transformer.nn.remat import Remat
from transformer.nn.stack import run, stack, unstack


class EncoderLayer(nnx.Module):
    """Self-attention and a feed-forward layer, each with a residual connection."""

    def __init__(self, model: config.Transformer, *, rngs: nnx.Rngs):
        settings, rate = model.attention_of("encoder"), model.attention_dropout
        self.attention = MultiHead(settings, model.width, rate, positions=model.positions, rngs=rngs)
        self.feedforward = feedforward(model, rngs)
        self.attention_residual = residual(model, rngs)
        self.feedforward_residual = residual(model, rngs)

    def __call__(
        self, x: Float[Array, "B S D"], mask: Bool[Array, "B 1 #S S"], key: PRNGKeyArray | None, *, weights: bool = True
    ) -> tuple[Float[Array, "B S D"], Float[Array, "B H S S"] | None]:
        """The layer's output, and, if requested, its attention weights."""
        # Positions and lengths are for windows, which packed rows do not have.
        keys, position, lengths = split_key(key, 4), jnp.arange(x.shape[1])[None], mask[:, 0, 0].sum(-1)
        y = self.attention_residual.enter(x)
        own = self.attention.project(y, position)
        y, attended = self.attention(y, *own, mask, position, lengths, keys[0], weights=weights)
        x = self.attention_residual.add(x, y, keys[1])
        y = self.feedforward(self.feedforward_residual.enter(x), keys[2])
        return self.feedforward_residual.add(x, y, keys[3]), attended


class Encoder(nnx.Module):
    """A stack of layers over embeddings with positions; implements `models.interface.Encoder`."""

    def __init__(
        self,
        model: config.Transformer,
        embed: Embedding,
        positions: Positions,
        *,
        rngs: nnx.Rngs,
        remat: Remat = "none",
    ):
        self.embed_source, self.source_positions = embed, positions
        self.encoder = stack(partial(_layer, model), model.encoder_layers, rngs)
        last = final_norm(model.width, model.norm_kind, epsilon=model.norm_epsilon) if model.norm == "pre" else None
        self.encoder_norm = last
        self.rate, self.unroll, self.remat = model.dropout, model.unroll, remat

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
        """Padded token ids [B, S] to a `Memory` with states [B, S, D]; see `models.interface.PackedModel.encode`."""
        embedding_key, layers_key = split_key(key, 2)
        positions = None if segments is None else masks.positions(segments)
        x = self.source_positions(self.embed(source) if embedded is None else embedded, positions)
        x = dropout(x, self.rate, embedding_key)
        real = masks.padding(source)
        mask = real if segments is None else masks.same_segment(segments, segments)

        def body(layer: EncoderLayer, x: Array, key: PRNGKeyArray | None, _: None) -> tuple[Array, Any]:
            x, attention = layer(x, mask, key, weights=weights)
            return x, attention if weights else None

        x, attention = run(self.encoder, body, x, layers_key, unroll=self.unroll, how=self.remat)
        if self.encoder_norm is not None:
            x = self.encoder_norm(x).astype(x.dtype)
        return Memory(x, real[:, 0, 0], attention.swapaxes(0, 1) if weights else None, segments=segments)

    def trace_encoder(self, source: Int[Array, "B S"]) -> tuple[Memory, list[Summands]]:
        """See `models.interface.Traces`."""
        x, mask, attentions = self.source_positions(self.embed(source)), masks.padding(source), []
        position, lengths = jnp.arange(x.shape[1])[None], mask[:, 0, 0].sum(-1)
        for layer in unstack(self.encoder):
            x, summands = trace(layer.attention_residual, layer.attention, x, None, mask, position, lengths)
            x = layer.feedforward_residual.add(x, layer.feedforward(layer.feedforward_residual.enter(x)), None)
            attentions.append(summands)
        if self.encoder_norm is not None:
            x = self.encoder_norm(x).astype(x.dtype)
        return Memory(x, mask[:, 0, 0]), attentions


def build_encoder(
    model: config.Transformer,
    vocabulary: int,
    *,
    rngs: nnx.Rngs,
    precision: Precision = "float32",
    remat: Remat = "none",
) -> Encoder:
    """An encoder with its own embedding."""
    embed = embedding(model, vocabulary, rngs, precision)
    positions = Positions(model.positions, model.max_length, model.width, rngs=rngs)
    return Encoder(model, embed, positions, rngs=rngs, remat=remat)


def _layer(model: config.Transformer, rngs: nnx.Rngs) -> EncoderLayer:
    return EncoderLayer(model, rngs=rngs)


def feedforward(model: config.Transformer, rngs: nnx.Rngs) -> FeedForward:
    """The feed-forward sub-layer of the settings."""
    return FeedForward(model.width, model.feedforward, model.activation, model.feedforward_dropout, rngs=rngs)


def residual(model: config.Transformer, rngs: nnx.Rngs) -> Residual:
    """The residual connection of the settings."""
    return Residual(
        model.width,
        pre=model.norm == "pre",
        rate=model.dropout,
        kind=model.norm_kind,
        epsilon=model.norm_epsilon,
        rngs=rngs,
    )


def embedding(model: config.Transformer, vocabulary: int, rngs: nnx.Rngs, precision: Precision) -> Embedding:
    """The embedding of the settings."""
    return Embedding(vocabulary, model.width, rngs=rngs, precision=precision, scaled=model.scale_embeddings)
