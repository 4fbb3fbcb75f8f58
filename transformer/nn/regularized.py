"""R-Drop: two passes with different dropout should agree (Liang et al. 2021, "R-Drop: Regularized Dropout for Neural
Networks")."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from transformer.special_tokens import PAD


def disagreement(
    output: nnx.Module,
    first: Float[Array, "B T D"],
    second: Float[Array, "B T D"],
    targets: Int[Array, "B T"],
    *,
    chunk: int = 256,
) -> Float[Array, ""]:
    """(KL(p || q) + KL(q || p)) / 2 of the predictions of two passes, summed over the tokens, in nats (equation 2).

    Args:
        output: the model's output layer, `hidden [..., D] -> logits [..., V]`.
        first: hidden states of one pass.
        second: of the other.
        targets: positions of PAD do not count.
        chunk: tokens whose logits are in memory at the same time; the backward pass computes them again.
    """
    graph, parameters = nnx.split(output)
    B, T = targets.shape
    width = max(1, min(chunk // B, T))
    pieces = -(-T // width)

    def cut(x: Array) -> Array:
        x = jnp.pad(x, [(0, 0), (0, pieces * width - T)] + [(0, 0)] * (x.ndim - 2))
        return jnp.moveaxis(x.reshape(B, pieces, width, *x.shape[2:]), 1, 0)

    @jax.checkpoint
    def add(total: Array, piece: Any) -> tuple[Array, None]:
        layer = nnx.merge(graph, parameters)
        first, second, targets = piece
        p, q = (jax.nn.log_softmax(layer(hidden)) for hidden in (first, second))
        both = ((jnp.exp(p) - jnp.exp(q)) * (p - q)).sum(-1) / 2
        return total + jnp.sum(jnp.where(targets != PAD, both, 0)), None

    total, _ = jax.lax.scan(add, jnp.zeros(()), (cut(first), cut(second), cut(targets)))
    return total
