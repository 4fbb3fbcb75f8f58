"""The recurrent encoder."""

from typing import NamedTuple

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from transformer.attention import masks
from transformer.models.interface import Memory, Summands
from transformer.models.rnn import config
from transformer.nn import recurrent
from transformer.nn.dropout import dropout, split_key
from transformer.nn.layers import Embedding
from transformer.nn.precision import Precision
from transformer.nn.remat import Remat


class FinalState(NamedTuple):
    """The encoder's last states, for a decoder of the same family."""

    layers: list[tuple[recurrent.State, ...]]
    """The last state of every layer and direction."""
    summary: Float[Array, "B M"]
    """The last hidden state of the last layer, all directions concatenated."""


class Encoder(nnx.Module):
    """Recurrent layers over embeddings; implements `models.interface.Encoder`."""

    def __init__(self, model: config.Rnn, embed: Embedding, *, rngs: nnx.Rngs, remat: Remat = "none"):
        self.embed_source = embed
        self.encoder = recurrent.Layers(
            model.cell,
            model.embedding,
            model.encoder_width or model.width,
            model.encoder_layers,
            bidirectional=model.bidirectional,
            rate=model.dropout,
            remat=remat,
            rngs=rngs,
        )
        self.reverse, self.rate, self.layers = model.reverse, model.dropout, model.encoder_layers

    def embed(self, source: Int[Array, "B S"]) -> Float[Array, "B S X"]:
        """See `models.interface.Embeds`."""
        return self.embed_source(source)

    def encode(
        self,
        source: Int[Array, "B S"],
        key: PRNGKeyArray | None = None,
        *,
        weights: bool = False,
        embedded: Float[Array, "B S X"] | None = None,
    ) -> Memory:
        """Padded token ids [B, S] to a `Memory` with states [B, S, D], without attention weights; see
        `models.interface.Encoder.encode`."""
        mask = masks.padding(source)[:, 0, 0]
        keys = split_key(key, self.layers + 1)
        x = self.embed(source) if embedded is None else embedded
        if self.reverse:
            x = recurrent.reverse_tokens(x, mask)
        x = dropout(x, self.rate, keys[-1])
        states, last = self.encoder(x, mask, keys)
        summary = jnp.concatenate([direction[0] for direction in last[-1]], -1).astype(states.dtype)
        if self.reverse:
            states = recurrent.reverse_tokens(states, mask)
        return Memory(states, mask, None, FinalState(last, summary))

    def trace_encoder(self, source: Int[Array, "B S"]) -> tuple[Memory, list[Summands]]:
        """See `models.interface.Traces`."""
        return self.encode(source), []


def build_encoder(
    model: config.Rnn,
    vocabulary: int,
    *,
    rngs: nnx.Rngs,
    precision: Precision = "float32",
    remat: Remat = "none",
) -> Encoder:
    """An encoder with its own embedding."""
    embed = Embedding(vocabulary, model.embedding, rngs=rngs, precision=precision)
    return Encoder(model, embed, rngs=rngs, remat=remat)
