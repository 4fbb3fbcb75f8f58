"""What training in bfloat16 (`--training.precision`) computes in bfloat16, and what stays in float32.

Parameters, their gradients and the optimizer are float32. Embeddings return vectors in the training's precision, and
every layer converts its weights to the precision of its input, so that matrices are multiplied and activations kept in
bfloat16. Sums over many terms and normalisations are float32: energies, softmax, logits and the loss (products of
bfloat16 summed in float32, see `summed`), norms, recurrent states, and the gradients that a scan over time sums. In
float32 no cast is part of the program.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Precision: TypeAlias = Literal["float32", "bfloat16"]


def summed(product: Callable[..., Array], x: Float[Array, "*M"], y: Float[Array, "*N"]) -> Float[Array, "*O"]:
    """A product of two arrays of one type, summed and returned in float32.

    The products of its gradient are in the arrays' own type again; without this they would mix both types and be
    computed in float32.

    Args:
        product: of two arrays, a function with the argument `preferred_element_type`, such as `jnp.matmul`.
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
    """A tree whose floating-point leaves are converted to float32."""
    return jax.tree.map(lambda x: x.astype(jnp.float32) if jnp.issubdtype(x.dtype, jnp.floating) else x, tree)
