"""An encoder, a vector of the whole text, and a linear layer."""

from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from transformer.attention.mechanism import Mechanism
from transformer.models.classifier import config
from transformer.nn.dropout import dropout, split_key
from transformer.nn.precision import Precision
from transformer.nn.remat import Remat


def mean(states: Float[Array, "B S D"], mask: Bool[Array, "B S"]) -> Float[Array, "B D"]:
    """The mean over real tokens; zero for an empty text."""
    total = jnp.where(mask[..., None], states, 0).sum(1)
    return total / jnp.maximum(mask.sum(1), 1)[:, None].astype(states.dtype)


def largest(states: Float[Array, "B S D"], mask: Bool[Array, "B S"]) -> Float[Array, "B D"]:
    """Of each element the largest value over real tokens; zero for an empty text."""
    found = jnp.where(mask[..., None], states, -jnp.inf).max(1)
    return jnp.where(mask.any(1)[:, None], found, 0)


class LearnedQuery(nnx.Module):
    """Attention of one learned query (Yang et al. 2016, "Hierarchical Attention Networks for Document Classification",
    equations 5 to 7, by the additive score: its W q is their bias, and its v their context vector)."""

    def __init__(self, model: config.Classifier, *, rngs: nnx.Rngs):
        self.query = nnx.Param(nnx.initializers.normal(0.1)(rngs.params(), (model.width,)))
        self.mechanism = Mechanism(model.attention, model.width, model.encoder.memory_width, rngs=rngs)

    def __call__(
        self, states: Float[Array, "B S D"], mask: Bool[Array, "B S"], key: PRNGKeyArray | None = None
    ) -> tuple[Float[Array, "B D"], Float[Array, "B S"]]:
        """The weighted sum of the states, and the weights."""
        B = len(states)
        query = jnp.broadcast_to(self.query[...].astype(states.dtype), (B, 1, len(self.query[...])))
        start = jnp.zeros((1, 1), jnp.int32)
        keys = self.mechanism.project(states)
        context, weights = self.mechanism(query, keys, states, mask[:, None], start, mask.sum(-1), key=key)
        assert weights is not None
        return context[:, 0], weights[:, 0]


class Classifier(nnx.Module):
    """Logits of the labels of a text."""

    def __init__(
        self,
        model: config.Classifier,
        vocabulary: int,
        labels: int,
        *,
        rngs: nnx.Rngs,
        precision: Precision = "float32",
        remat: Remat = "none",
    ):
        self.encoder: Any = model.encoder.build_encoder(vocabulary, rngs=rngs, precision=precision, remat=remat)
        self.query = LearnedQuery(model, rngs=rngs) if model.pooling == "attention" else None
        glorot = nnx.initializers.glorot_uniform()
        self.output = nnx.Param(glorot(rngs.params(), (model.encoder.memory_width, labels)))
        self.bias = nnx.Param(jnp.zeros(labels))
        self.pooling, self.rate = model.pooling, model.dropout

    def __call__(
        self, text: Int[Array, "B S"], key: PRNGKeyArray | None = None
    ) -> tuple[Float[Array, "B C"], Float[Array, "B S"] | None]:
        """Logits in float32, and the weights of the tokens where the pooling is attention.

        Args:
            text: padded token ids.
            key: of the dropout; None: no dropout.
        """
        encoder_key, query_key, output_key = split_key(key, 3)
        memory = self.encoder.encode(text, encoder_key)
        states, mask, weights = memory.states, memory.mask, None
        if self.query is not None:
            vector, weights = self.query(states, mask, query_key)
        elif self.pooling == "first":
            vector = states[:, 0]
        else:
            vector = mean(states, mask) if self.pooling == "mean" else largest(states, mask)
        vector = dropout(vector, self.rate, output_key).astype(jnp.float32)
        return vector @ self.output[...] + self.bias[...][None], weights
