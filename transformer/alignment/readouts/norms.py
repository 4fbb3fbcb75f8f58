"""Norms of the weighted values, instead of the weights alone.

Kobayashi et al. 2020, "Attention is Not Only a Weight: Analyzing Transformers with Vector Norms": a large weight on a
small value adds little. With f_h(x) the value of head h after its output projection, a head's read-out is the norm of
a_h(t, s) f_h(x_s) (equation 4), and a layer's is the norm of the sum over heads (section 5), not the sum of the norms.
"""

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float

from transformer.models.interface import Summands


def head_norms(layers: Sequence[Summands]) -> Float[Array, "B L H T S"]:
    """The norm of what each source position adds to the output of each head."""
    sizes = [jnp.linalg.norm(layer.values, axis=-1) for layer in layers]
    return jnp.stack(
        [jnp.abs(layer.weights) * size[:, :, None] for layer, size in zip(layers, sizes, strict=True)], axis=1
    )


def norms(layers: Sequence[Summands]) -> Float[Array, "B L 1 T S"]:
    """The norm of what each source position adds to the output of each layer, all heads together."""
    return jnp.stack([_norm(layer) for layer in layers], axis=1)[:, :, None]


def _norm(layer: Summands) -> Float[Array, "B T S"]:
    """|sum_h a_h v_h|^2 = sum_hg a_h a_g <v_h, v_g>, so that no array [T, S, D] is needed."""
    products = jnp.einsum("bhsd,bgsd->bshg", layer.values, layer.values)
    squared = jnp.einsum("bhts,bgts,bshg->bts", layer.weights, layer.weights, products)
    return jnp.sqrt(jnp.maximum(squared, 0))
