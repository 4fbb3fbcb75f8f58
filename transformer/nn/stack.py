"""Layers of one kind as one module, run by a scan."""

from collections.abc import Callable
from typing import Any

import jax
from flax import nnx
from jaxtyping import Array, PRNGKeyArray

from transformer.nn.remat import Remat, remat


def stack(make: Callable[[nnx.Rngs], nnx.Module], depth: int, rngs: nnx.Rngs) -> Any:
    """`depth` layers as one module whose parameters have a leading axis [L, ...]."""
    return nnx.vmap(make, in_axes=0, out_axes=0)(rngs.split(depth))


def unstack(layers: Any) -> list[Any]:
    """The layers of a stack as a list of modules."""
    graph, parameters = nnx.split(layers)
    depth = jax.tree.leaves(parameters)[0].shape[0]
    return [nnx.merge(graph, jax.tree.map(lambda p, i=i: p[i], parameters)) for i in range(depth)]


def run(
    layers: nnx.Module,
    body: Callable[[Any, Array, PRNGKeyArray | None, Any], tuple[Array, Any]],
    x: Array,
    key: PRNGKeyArray | None,
    each: Any = None,
    *,
    unroll: bool = False,
    how: Remat = "none",
) -> tuple[Array, Any]:
    """Run a stack from the first layer to the last by one `lax.scan`.

    Args:
        layers: the result of `stack`.
        body: (layer, x, key, the layer's own input) -> (x, what to collect).
        x: the input of the first layer.
        key: split over the layers; None for no dropout.
        each: a pytree whose leaves have a leading axis [L, ...], passed to `body` layer by layer.
        unroll: XLA compiles all layers without a loop; slower to compile, mathematically the same.
        how: what the backward pass recomputes, see `remat`.

    Returns:
        The last layer's output, and what was collected, stacked [L, ...].
    """
    graph, parameters = nnx.split(layers)
    depth = jax.tree.leaves(parameters)[0].shape[0]
    keys = None if key is None else jax.random.split(key, depth)

    def step(x: Array, layer: tuple[Any, Any, Any]) -> tuple[Array, Any]:
        parameters, key, own = layer
        return body(nnx.merge(graph, parameters), x, key, own)

    scanned = remat(step, how, unrolled=unroll)
    return jax.lax.scan(scanned, x, (parameters, keys, each), unroll=depth if unroll else 1)
