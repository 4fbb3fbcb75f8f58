"""Relative positions: how the energy of a self-attention depends on the distance from query to key.

The other kinds, sinusoids and learned vectors, are added to the embeddings (`nn.layers.Positions`). These act in every
self-attention instead, on queries and keys or on the energies, and use no absolute position, so that a model trained on
short sentences can read longer ones. A distance is the key's position minus the query's: -1 is the token before.

Letters: H heads, K width of a head, R number of distinct distances.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from transformer.attention.scores import Start, Weights
from transformer.nn.precision import summed
from transformer.plugins import Table

CLIP = 16
"""Shaw's distance beyond which all are one; the paper finds no difference from 2 on (2018, table 2)."""
BUCKETS = 32
"""T5's (2020, section 2.1)."""
FARTHEST = 128
"""T5's distance beyond which all are in one bucket."""
BASE = 10_000
"""Base of the wavelengths of rotary positions."""


@dataclass(frozen=True)
class Scheme:
    """Relative positions; an entry of `POSITIONS`. It rotates queries and keys, or adds to the energies, or both."""

    turn: Callable[[Array, Array], Array] | None = None
    """(queries or keys [B H T K], their positions [#B T]) -> [B H T K]."""
    bias: Callable[[Array, Array, Weights, bool], Array] | None = None
    """(queries [B H T K], distances [#B T S], weights, whether only the past is seen) -> [#B H T S], added to the
    energies before they become weights."""
    weights: Callable[[int, int], dict[str, Start]] = lambda heads, width: {}
    """(H, K) -> its parameters and how they are drawn."""


class Relative(nnx.Module):
    """A scheme with its parameters, one set for each layer."""

    def __init__(self, scheme: str, heads: int, width: int, *, causal: bool, rngs: nnx.Rngs):
        """
        Args:
            scheme: an entry of `POSITIONS`.
            heads: H.
            width: of a head, K.
            causal: whether only the past is seen.
            rngs: of the parameters.
        """
        self.scheme, self.causal = scheme, causal
        starts = POSITIONS[scheme].weights(heads, width)
        self.weights: Any = nnx.Dict({name: nnx.Param(start(rngs.params())) for name, start in starts.items()})

    def turn(self, x: Float[Array, "B H T K"], position: Int[Array, "#B T"]) -> Float[Array, "B H T K"]:
        """Queries or keys at their positions."""
        turn = POSITIONS[self.scheme].turn
        return x if turn is None else turn(x, position)

    def bias(
        self, query: Float[Array, "B H T K"], position: Int[Array, "#B T"], places: Int[Array, "#B S"]
    ) -> Float[Array, "#B H T S"] | None:
        """The bias of the energies of queries at their positions with keys at their places; None: no bias."""
        bias = POSITIONS[self.scheme].bias
        if bias is None:
            return None
        distance = places[:, None] - position[..., None]
        return bias(query, distance, {name: weight[...] for name, weight in self.weights.items()}, self.causal)


def rotate(x: Float[Array, "B H T K"], position: Int[Array, "#B T"]) -> Float[Array, "B H T K"]:
    """Pair i of the vector at position t is rotated by the angle t / 10000^(2i/K), so that the product of a query and a
    key depends on their distance alone (Su et al. 2021, "RoFormer", equations 15 and 34)."""
    K = x.shape[-1]
    angle = position[:, None, :, None] / BASE ** (jnp.arange(0, K, 2) / K)[None, None, None]
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    even, odd = x[..., ::2].astype(jnp.float32), x[..., 1::2].astype(jnp.float32)
    turned = jnp.stack([even * cos - odd * sin, even * sin + odd * cos], -1)
    return turned.reshape(x.shape).astype(x.dtype)


def shaw(
    query: Float[Array, "B H T K"], distance: Int[Array, "#B T S"], weights: Weights, causal: bool
) -> Float[Array, "B H T S"]:
    """q_t · a_d / sqrt(K), a vector for each distance, clipped, that all heads share (Shaw et al. 2018, equation 4).

    The paper's vectors for the values (equation 3) are left out: they change nothing there (table 3).
    """
    table = weights["distances"].astype(query.dtype)
    products = summed(lambda q, a: jnp.einsum("bhtk,rk->bhtr", q, a), query, table) / query.shape[-1] ** 0.5
    index = (jnp.clip(distance, -CLIP, CLIP) + CLIP)[:, None]
    return jnp.take_along_axis(products, jnp.broadcast_to(index, (*products.shape[:3], index.shape[-1])), -1)


def bucketed(
    query: Float[Array, "B H T K"], distance: Int[Array, "#B T S"], weights: Weights, causal: bool
) -> Float[Array, "#B H T S"]:
    """A number for each head and bucket of distances (Raffel et al. 2020, "T5", section 2.1).

    Here each layer has its own; in T5 all layers of a stack share them.
    """
    index = jnp.asarray(_buckets(causal))[jnp.clip(distance, -FARTHEST, FARTHEST) + FARTHEST]
    return weights["buckets"].astype(jnp.float32).T[index].transpose(0, 3, 1, 2)


@cache
def _buckets(causal: bool) -> Int[np.ndarray, " R"]:
    """The bucket of each distance from -FARTHEST to FARTHEST. Half of the buckets hold one distance each, the others
    grow logarithmically. Where the future is seen, it has half of the buckets; otherwise it is in bucket 0."""
    distance = np.arange(-FARTHEST, FARTHEST + 1)
    number = BUCKETS if causal else BUCKETS // 2
    away, exact = np.where(distance > 0, 0 if causal else distance, -distance), number // 2
    growth = np.log(np.maximum(away, 1) / exact) / np.log(FARTHEST / exact) * (number - exact)
    # Rounded first: whole powers are computed a little too small.
    logarithmic = np.minimum(exact + np.floor(growth.round(9)), number - 1)
    bucket = np.where(away < exact, away, logarithmic).astype(np.int32)
    return bucket if causal else bucket + np.where(distance > 0, number, 0).astype(np.int32)


def linear(
    query: Float[Array, "B H T K"], distance: Int[Array, "#B T S"], weights: Weights, causal: bool
) -> Float[Array, "#B H T S"]:
    """-m_h |d| with a slope m_h for each head (Press et al. 2022, "ALiBi", section 3), the same in both directions."""
    slope = jnp.asarray(slopes(query.shape[1]))[None, :, None, None]
    return -slope * jnp.abs(distance)[:, None].astype(jnp.float32)


def slopes(heads: int) -> Float[np.ndarray, " H"]:
    """2^(-8/H), 2^(-16/H), ... 2^-8; for a number of heads that is no power of two those of the next lower one, and
    then every other one of the next higher (as in the authors' code)."""
    power = 2 ** int(np.log2(heads))
    found = 2.0 ** (-8 / power * np.arange(1, power + 1))
    more = 2.0 ** (-8 / (2 * power) * np.arange(1, 2 * power + 1, 2))[: heads - power]
    return np.concatenate([found, more]).astype(np.float32)


def _normal(*shape: int) -> Start:
    """Normal of variance 1 / K or 1 / R, the last axis."""
    return lambda key: jax.random.normal(key, shape) * shape[-1] ** -0.5


POSITIONS: Table[Scheme] = Table(
    "positions",
    {
        "rotary": Scheme(turn=rotate),
        "shaw": Scheme(bias=shaw, weights=lambda heads, width: {"distances": _normal(2 * CLIP + 1, width)}),
        "t5": Scheme(bias=bucketed, weights=lambda heads, width: {"buckets": _normal(heads, BUCKETS)}),
        "alibi": Scheme(bias=linear),
    },
)
"""Relative positions by the name that `--model.positions` has."""
