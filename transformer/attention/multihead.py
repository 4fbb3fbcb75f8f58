"""Multi-head attention over any score, window and normalizer (Vaswani 2017, section 3.2.2).

Letters: G heads of keys and values, each shared by H / G heads of queries.
"""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from transformer.attention import config
from transformer.attention.mechanisms import MECHANISMS
from transformer.attention.positions import POSITIONS, Relative

# Fan-in and fan-out as of the matrices [D, H*K] and [H*K, D].
_split_heads = nnx.initializers.variance_scaling(1.0, "fan_avg", "uniform", in_axis=0, out_axis=(1, 2))
_join_heads = nnx.initializers.variance_scaling(1.0, "fan_avg", "uniform", in_axis=(0, 1), out_axis=2)


class MultiHead(nnx.Module):
    """H attentions of width K = D / H, each on its own projection of the query, and of key and value where G = H."""

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
            positions: of a self-attention: only relative ones are applied here, see `attention.positions`.
            causal: whether only the past is seen.
            rngs: of the parameters.
        """
        mechanism = MECHANISMS[settings.mechanism]
        H, K = mechanism.split(settings.heads, width // settings.heads)
        self.query = nnx.Param(_split_heads(rngs.params(), (width, H, K)))
        G = H * (settings.key_value_heads or settings.heads) // settings.heads
        self.key = nnx.Param(_split_heads(rngs.params(), (width, G, K)))
        self.value = nnx.Param(_split_heads(rngs.params(), (width, G, K)))
        self.output = nnx.Param(_join_heads(rngs.params(), (H, K, width)))
        zeros = (H, K), (G, K), (G, K), (width,)
        biases = [nnx.Param(jnp.zeros(shape)) if settings.bias else None for shape in zeros]
        self.query_bias, self.key_bias, self.value_bias, self.output_bias = biases
        self.mechanism = mechanism(settings, K, K, H, rngs=rngs)
        self.rate = rate
        self.query_norm = nnx.RMSNorm(K, rngs=rngs) if settings.query_key_norm else None
        self.key_norm = nnx.RMSNorm(K, rngs=rngs) if settings.query_key_norm else None
        self.relative = Relative(positions, H, K, causal=causal, rngs=rngs) if positions in POSITIONS else None

    def project(
        self, memory: Float[Array, "B S D"], position: Int[Array, "#B S"] | None = None
    ) -> tuple[Float[Array, "B G S P"], Float[Array, "B G S K"]]:
        """Keys and values of a memory, computed once for any number of queries; in a self-attention at positions."""
        keys = with_bias(jnp.einsum("bsd,dhk->bhsk", memory, self.key[...].astype(memory.dtype)), self.key_bias)
        if self.key_norm is not None:
            keys = self.key_norm(keys).astype(keys.dtype)
        if self.relative is not None:
            assert position is not None
            keys = self.relative.turn(keys, position)
        keys = self.mechanism.project(keys)
        values = jnp.einsum("bsd,dhk->bhsk", memory, self.value[...].astype(memory.dtype))
        return keys, with_bias(values, self.value_bias)

    def for_queries(self, shared: Float[Array, "B G *S K"]) -> Float[Array, "B H *S K"]:
        """Keys or values, for each head of the queries."""
        group = self.query.shape[1] // shared.shape[1]
        return shared if group == 1 else jnp.repeat(shared, group, axis=1)

    def __call__(
        self,
        x: Float[Array, "B T D"],
        keys: Float[Array, "B G S P"],
        values: Float[Array, "B G S K"],
        mask: Bool[Array, "#B 1 #T S"],
        position: Int[Array, "#B T"],
        lengths: Int[Array, "B"] | None,
        key: PRNGKeyArray | None = None,
        *,
        bias: Float[Array, "#B #H #T S"] | None = None,
        places: Int[Array, "B S"] | None = None,
        weights: bool = True,
    ) -> tuple[Float[Array, "B T D"], Float[Array, "B H T S"] | None]:
        """The attended values, projected back to the model's width, and the weights; see `Mechanism`."""
        query = with_bias(jnp.einsum("btd,dhk->bhtk", x, self.query[...].astype(x.dtype)), self.query_bias)
        query, bias = self._at(query, position, jnp.arange(keys.shape[-2])[None] if places is None else places, bias)
        keys, values = self.for_queries(keys), self.for_queries(values)
        context, used = self.mechanism(
            query,
            keys,
            values,
            mask,
            position,
            lengths,
            bias=bias,
            places=places,
            rate=self.rate,
            key=key,
            weights=weights,
        )
        joined = jnp.einsum("bhtk,hkd->btd", context, self.output[...].astype(x.dtype))
        return with_bias(joined, self.output_bias), used

    def attend_along_beam(
        self,
        x: Float[Array, "B N D"],
        keys: Float[Array, "B G N T P"],
        values: Float[Array, "B G N T K"],
        path: Bool[Array, "B N N T"] | None,
        position: Int[Array, "B N"],
        *,
        bias: Float[Array, "#B #H #N T"] | None = None,
    ) -> tuple[Float[Array, "B N D"], Float[Array, "B H N T"] | None]:
        """The newest token of each of N hypotheses that share their histories; see `Mechanism.attend_along_beam`."""
        query = with_bias(jnp.einsum("bnd,dhk->bhnk", x, self.query[...]), self.query_bias)
        query, bias = self._at(query, position, jnp.arange(keys.shape[-2])[None], bias)
        keys, values = self.for_queries(keys), self.for_queries(values)
        context, weights = self.mechanism.attend_along_beam(query, keys, values, path, position, bias=bias)
        return with_bias(jnp.einsum("bhnk,hkd->bnd", context, self.output[...]), self.output_bias), weights

    def _at(self, query: Array, position: Array, places: Array, bias: Array | None) -> tuple[Array, Array | None]:
        """Queries, normalised and with positions if the settings say so, and the bias of their energies with keys at
        their places."""
        if self.query_norm is not None:
            query = self.query_norm(query).astype(query.dtype)
        if self.relative is None:
            return query, bias
        query = self.relative.turn(query, position)
        own = self.relative.bias(query, position, places)
        return query, bias if own is None else own if bias is None else own + bias


def with_bias(x: Float[Array, "B *T K"], bias: nnx.Param | None) -> Float[Array, "B *T K"]:
    """A projection with its bias: [D] for vectors [B, T, D], [H, K] for those of heads [B, H, T, K]. It is added in
    float32: its gradient is a sum over all tokens."""
    if bias is None:
        return x
    value = bias[...]
    return (x + (value[None, None] if value.ndim == 1 else value[None, :, None])).astype(x.dtype)
