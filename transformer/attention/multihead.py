"""Multi-head attention over any score, window and normalizer (Vaswani 2017, section 3.2.2)."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from transformer.attention import config
from transformer.attention.mechanism import Mechanism
from transformer.attention.positions import POSITIONS, Relative

# Fan-in and fan-out as of the matrices [D, H*K] and [H*K, D].
_split_heads = nnx.initializers.variance_scaling(1.0, "fan_avg", "uniform", in_axis=0, out_axis=(1, 2))
_join_heads = nnx.initializers.variance_scaling(1.0, "fan_avg", "uniform", in_axis=(0, 1), out_axis=2)


class MultiHead(nnx.Module):
    """H attentions of width K = D / H, each on its own projection of query, key and value."""

    def __init__(
        self,
        settings: config.Attention,
        width: int,
        rate: float,
        *,
        positions: str = "none",
        causal: bool = False,
        rngs: nnx.Rngs,
    ):
        """
        Args:
            settings: of each head.
            width: of the model, D.
            rate: of the dropout on the weights.
            positions: of a self-attention: relative ones act here, see `attention.positions`; others do not.
            causal: whether only the past is seen.
            rngs: of the parameters.
        """
        H, K = settings.heads, width // settings.heads
        self.query = nnx.Param(_split_heads(rngs.params(), (width, H, K)))
        self.key = nnx.Param(_split_heads(rngs.params(), (width, H, K)))
        self.value = nnx.Param(_split_heads(rngs.params(), (width, H, K)))
        self.output = nnx.Param(_join_heads(rngs.params(), (H, K, width)))
        self.mechanism = Mechanism(settings, K, K, H, rngs=rngs)
        self.rate = rate
        self.relative = Relative(positions, H, K, causal=causal, rngs=rngs) if positions in POSITIONS else None

    def project(
        self, memory: Float[Array, "B S D"], position: Int[Array, "#B S"] | None = None
    ) -> tuple[Float[Array, "B H S P"], Float[Array, "B H S K"]]:
        """Keys and values of a memory, computed once for any number of queries; in a self-attention at positions."""
        keys = jnp.einsum("bsd,dhk->bhsk", memory, self.key[...].astype(memory.dtype))
        if self.relative is not None:
            assert position is not None
            keys = self.relative.turn(keys, position)
        keys = self.mechanism.project(keys)
        return keys, jnp.einsum("bsd,dhk->bhsk", memory, self.value[...].astype(memory.dtype))

    def __call__(
        self,
        x: Float[Array, "B T D"],
        keys: Float[Array, "B H S P"],
        values: Float[Array, "B H S K"],
        mask: Bool[Array, "#B 1 #T S"],
        position: Int[Array, "#B T"],
        lengths: Int[Array, "B"] | None,
        key: PRNGKeyArray | None = None,
        *,
        bias: Float[Array, "#B #H #T S"] | None = None,
        weights: bool = True,
    ) -> tuple[Float[Array, "B T D"], Float[Array, "B H T S"] | None]:
        """The attended values, projected back to the model's width, and the weights; see `Mechanism`."""
        query = jnp.einsum("btd,dhk->bhtk", x, self.query[...].astype(x.dtype))
        if self.relative is not None:
            query, bias = self._at(query, position, keys.shape[-2], bias)
        context, used = self.mechanism(
            query, keys, values, mask, position, lengths, bias=bias, rate=self.rate, key=key, weights=weights
        )
        return jnp.einsum("bhtk,hkd->btd", context, self.output[...].astype(x.dtype)), used

    def attend_along_beam(
        self,
        x: Float[Array, "B N D"],
        keys: Float[Array, "B H N T P"],
        values: Float[Array, "B H N T K"],
        path: Bool[Array, "B N N T"] | None,
        position: Int[Array, "B N"],
        *,
        bias: Float[Array, "#B #H #N T"] | None = None,
    ) -> tuple[Float[Array, "B N D"], Float[Array, "B H N T"]]:
        """The newest token of each of N hypotheses that share their histories; see `Mechanism.attend_along_beam`."""
        query = jnp.einsum("bnd,dhk->bhnk", x, self.query[...])
        if self.relative is not None:
            query, bias = self._at(query, position, keys.shape[-2], bias)
        context, weights = self.mechanism.attend_along_beam(query, keys, values, path, position, bias=bias)
        return jnp.einsum("bhnk,hkd->bnd", context, self.output[...]), weights

    def _at(self, query: Array, position: Array, keys: int, bias: Array | None) -> tuple[Array, Array | None]:
        """Queries at their positions, and what is added to their energies."""
        assert self.relative is not None
        query = self.relative.turn(query, position)
        own = self.relative.bias(query, position, keys)
        return query, bias if own is None else own if bias is None else own + bias
