"""Multi-head attention over any score (Vaswani 2017, section 3.2.2)."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from transformer import config
from transformer.attention.attend import attend
from transformer.attention.scores import SCORES

# Fan-in and fan-out as of the matrices [D, H*K] and [H*K, D].
_split_heads = nnx.initializers.variance_scaling(1.0, "fan_avg", "uniform", in_axis=0, out_axis=(1, 2))
_join_heads = nnx.initializers.variance_scaling(1.0, "fan_avg", "uniform", in_axis=(0, 1), out_axis=2)


class MultiHead(nnx.Module):
    """H attentions of width K = D / H, each on its own projection of query, key and value."""

    def __init__(self, settings: config.Attention, width: int, dropout: float, *, rngs: nnx.Rngs):
        H, K = settings.heads, width // settings.heads
        self.query = nnx.Param(_split_heads(rngs.params(), (width, H, K)))
        self.key = nnx.Param(_split_heads(rngs.params(), (width, H, K)))
        self.value = nnx.Param(_split_heads(rngs.params(), (width, H, K)))
        self.output = nnx.Param(_join_heads(rngs.params(), (H, K, width)))
        self.score = settings.score
        self.dropout = dropout

    def project(self, memory: Float[Array, "B S D"]) -> tuple[Float[Array, "B H S K"], Float[Array, "B H S K"]]:
        """Keys and values of a memory: computed once, then attended to by any number of queries."""
        keys = jnp.einsum("bsd,dhk->bhsk", memory, self.key[...])
        return keys, jnp.einsum("bsd,dhk->bhsk", memory, self.value[...])

    def __call__(
        self,
        x: Float[Array, "B T D"],
        keys: Float[Array, "B H S K"],
        values: Float[Array, "B H S K"],
        mask: Bool[Array, "#B 1 #T S"],
        key: PRNGKeyArray | None = None,
    ) -> tuple[Float[Array, "B T D"], Float[Array, "B H T S"]]:
        """The attended values, projected back to the model's width, and the weights."""
        query = jnp.einsum("btd,dhk->bhtk", x, self.query[...])
        energies = SCORES[self.score](query, keys)
        context, weights = attend(energies, values, mask, rate=self.dropout, key=key)
        return jnp.einsum("bhtk,hkd->btd", context, self.output[...]), weights
