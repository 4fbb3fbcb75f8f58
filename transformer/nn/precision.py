"""What is bfloat16 where a training computes in it (`--training.precision`), and what stays float32.

Parameters, their gradients and the optimizer are float32. Embeddings leave their module in the training's precision,
and every weight is taken in the precision of what it meets, so that matrices are multiplied in bfloat16 and activations
kept in it. What sums over many or normalises is float32: energies, softmax, logits and the loss (products of bfloat16
that are summed in float32, see `summed`), norms, recurrent states, and what a scan over time sums up backward. In
float32 none of these casts is there at all.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def summed(product: Callable[..., Array], x: Float[Array, "*M"], y: Float[Array, "*N"]) -> Float[Array, "*O"]:
    """A product of two arrays of one type, summed and given in float32. The products of its gradient are of the arrays'
    own type again: left alone they would mix both, and be computed in float32.

    Args:
        product: of two arrays, a function that knows `preferred_element_type`, such as `jnp.matmul`.
        x: its first array.
        y: its second.
    """
    return product(x, y) if x.dtype == jnp.float32 else _summed(product, x, y)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _summed(product: Callable[..., Array], x: Array, y: Array) -> Array:
    return product(x, y, preferred_element_type=jnp.float32)


def _forward(product: Callable[..., Array], x: Array, y: Array) -> tuple[Array, tuple[Array, Array]]:
    return _summed(product, x, y), (x, y)


def _backward(product: Callable[..., Array], given: tuple[Array, Array], cotangent: Array) -> Any:
    return jax.vjp(product, *given)[1](cotangent.astype(given[0].dtype))


_summed.defvjp(_forward, _backward)


def widened(tree: Any) -> Any:
    """Its floating numbers as float32."""
    return jax.tree.map(lambda x: x.astype(jnp.float32) if jnp.issubdtype(x.dtype, jnp.floating) else x, tree)
