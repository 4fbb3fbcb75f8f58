"""Talking heads: energies and weights are mixed over the heads (Shazeer et al. 2020, "Talking-Heads Attention")."""

from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from transformer.attention import config
from transformer.attention.mechanism import Mechanism


def mixed(x: Float[Array, "B H T S"], matrix: Float[Array, "H H"]) -> Float[Array, "B H T S"]:
    """sum_h x_h M_hg for each head g."""
    return jnp.einsum("bhts,hg->bgts", x, matrix)


class Talking(Mechanism):
    """Weights mix(normalizer(mix(energies))) (Shazeer 2020, section 3), each mix with a matrix [H, H].

    Both matrices start as the identity, which is attention without them. A weight may become negative, and the weights
    of a row need not sum to one.
    """

    def __init__(self, settings: config.Attention, query: int, memory: int, heads: int, *, rngs: nnx.Rngs):
        super().__init__(settings, query, memory, heads, rngs=rngs)
        self.mix_energies = nnx.Param(jnp.eye(heads))
        self.mix_weights = nnx.Param(jnp.eye(heads))

    def _fuses(self, query: Array, keys: Array) -> bool:
        return False

    def _normalize(self, energies: Array, mask: Array) -> Array:
        # The lowest number as an energy marks a position without a score, which the mask excludes.
        scored = jnp.where(energies > jnp.finfo(energies.dtype).min, energies, 0)
        weights: Any = super()._normalize(mixed(scored, self.mix_energies[...]), mask)
        return mixed(weights, self.mix_weights[...])
