"""Differential attention: the difference of two softmaxes (Ye et al. 2024, "Differential Transformer").

Letters: P = 2 H half-heads of width V = K / 2. Half-heads h and H + h are the pair of head h: each has a query and a
key, and their values side by side are the value of the head.
"""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from transformer.attention import config
from transformer.attention.attend import weigh
from transformer.attention.mechanism import Mechanism
from transformer.attention.scores import SCORES
from transformer.nn.dropout import dropout
from transformer.nn.precision import widened

START = 0.8
"""The initial lambda. The paper's grows from 0.2 in the first layer towards 0.8; 0.8 in all layers is about as good in
its ablation (section 3.8)."""
EPSILON = 1e-5


class Differential(Mechanism):
    """Weights A_1 - lambda A_2 of two normalizers, whose contexts are normalised head by head (Ye 2024, equations 1 to
    3). A weight may be negative, and those of a row sum to 1 - lambda."""

    def __init__(self, settings: config.Attention, query: int, memory: int, heads: int, *, rngs: nnx.Rngs):
        super().__init__(settings, query, memory, heads, rngs=rngs)
        self.vectors = nnx.Param(0.1 * nnx.initializers.normal(1.0)(rngs.params(), (4, query)))
        self.scale = nnx.Param(jnp.ones((2, query)))

    @staticmethod
    def split(heads: int, width: int) -> tuple[int, int]:
        """See `Mechanism.split`: half-heads."""
        return 2 * heads, width // 2

    def share(self) -> Float[Array, ""]:
        """lambda = exp(q_1 · k_1) - exp(q_2 · k_2) + START, one for all heads of a layer (equation 2)."""
        first, second, third, fourth = self.vectors[...].astype(jnp.float32)
        return jnp.exp(first @ second) - jnp.exp(third @ fourth) + START

    def __call__(
        self,
        query: Float[Array, "B P T V"],
        keys: Float[Array, "B P S C"],
        values: Float[Array, "B P S V"],
        mask: Bool[Array, "#B #P #T S"],
        position: Int[Array, "#B T"],
        lengths: Int[Array, "B"] | None,
        *,
        bias: Float[Array, "#B #P #T S"] | None = None,
        places: Int[Array, "B S"] | None = None,
        rate: float = 0.0,
        key: PRNGKeyArray | None = None,
        weights: bool = True,
    ) -> tuple[Float[Array, "B P T V"], Float[Array, "B H T S"]]:
        """See `Mechanism.__call__`; the weights are those of heads."""
        energies = self._by_head(SCORES[self.score].energies, self.score_weights, query, keys)
        visible, _ = self._window(query, position, lengths, keys.shape[-2], places)
        used = self._difference(energies, mask if visible is None else mask & visible, bias)
        return self.combine(dropout(used, rate, key), values), used

    def attend_along_beam(
        self,
        query: Float[Array, "B P N V"],
        keys: Float[Array, "B P N T C"],
        values: Float[Array, "B P N T V"],
        path: Bool[Array, "B N N T"] | None,
        position: Int[Array, "B N"],
        *,
        bias: Float[Array, "#B #P #N T"] | None = None,
    ) -> tuple[Float[Array, "B P N V"], Float[Array, "B H N T"]]:
        """See `Mechanism.attend_along_beam`."""
        visible, _ = self._window(query, position, None, keys.shape[-2])
        mask = (jnp.arange(keys.shape[-2])[None, None] <= position[..., None])[:, None]
        energies = self._own_energies(query, keys, path)
        used = self._difference(energies, mask if visible is None else mask & visible, bias)
        both = jnp.concatenate([used, used], 1)
        if path is None:
            return self._normed(jnp.einsum("bhnt,bhntv->bhnv", both, values)), used
        spread = jnp.where(path[:, None], both[..., None, :], 0)
        return self._normed(jnp.einsum("bhqnt,bhntv->bhqv", spread, values)), used

    def combine(self, weights: Float[Array, "B H T S"], values: Float[Array, "B P S V"]) -> Float[Array, "B P T V"]:
        """See `Mechanism.combine`: the normalised context."""
        both = jnp.concatenate([weights, weights], 1).astype(values.dtype)
        return self._normed(jnp.einsum("bpts,bpsv->bptv", both, values))

    def summands(
        self, weights: Float[Array, "B H T S"], values: Float[Array, "B P S V"], output: Float[Array, "P V D"]
    ) -> tuple[Float[Array, "B H T S"], Float[Array, "B H S D"]]:
        """See `Mechanism.summands`: the norm divides by a number for each query, and multiplies by the scale."""
        both = jnp.concatenate([weights, weights], 1)
        factor = self._factor(jnp.einsum("bpts,bpsv->bptv", both, values))
        scaled = values * jnp.repeat(self.scale[...], weights.shape[1], 0)[None, :, None]
        projected = jnp.einsum("bpsv,pvd->bpsd", scaled, output)
        return weights * factor[..., None], projected.reshape(projected.shape[0], 2, -1, *projected.shape[2:]).sum(1)

    def _difference(self, energies: Array, mask: Array, bias: Array | None) -> Array:
        both = weigh(energies if bias is None else energies + bias, mask, self._normalize)
        first, second = jnp.split(both, 2, 1)
        return first - self.share() * second

    def _factor(self, context: Array) -> Float[Array, "B H T"]:
        """(1 - START) over the root mean square of the context of each head."""
        halves = widened(context).reshape(len(context), 2, -1, *context.shape[2:])
        return (1 - START) / jnp.sqrt((halves**2).mean((1, -1)) + EPSILON)

    def _normed(self, context: Array) -> Array:
        factor = self._factor(context)
        scale = jnp.repeat(self.scale[...], factor.shape[1], 0)[None, :, None]
        return (widened(context) * jnp.concatenate([factor, factor], 1)[..., None] * scale).astype(context.dtype)
