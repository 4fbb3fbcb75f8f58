"""Label-smoothed cross-entropy computed in chunks, and the loss of guided attention."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from transformer.special_tokens import PAD


def cross_entropy(
    output: nnx.Module,
    hidden: Float[Array, "B T D"],
    targets: Int[Array, "B T"],
    *,
    smoothing: float = 0.0,
    chunk: int = 256,
) -> tuple[Float[Array, ""], Float[Array, "B T"]]:
    """Cross-entropy against smoothed targets, in chunks of about `chunk` tokens.

    The target distribution is (1 - e) on the target plus e / V everywhere (Szegedy 2016, section 7), in closed
    form: (1 - e) * nll + e * (logsumexp - mean(logits)). If a gradient is needed, the forward pass computes it chunk by
    chunk, so that no logits are kept and none are computed twice. The batch axis is not split, so its sharding does not
    change.

    Args:
        output: the model's output layer, `hidden [..., D] -> logits [..., V]`.
        hidden: states that predict `targets`.
        targets: positions of PAD have no loss.
        smoothing: e above.
        chunk: tokens whose logits are in memory at the same time.

    Returns:
        The sum of the loss over all tokens, in nats, which is differentiable; and each token's negative
        log-likelihood without smoothing (0 at padding), from which no gradient flows.
    """
    graph, parameters = nnx.split(output)
    total, nll = _chunked(graph, smoothing, chunk, nnx.to_pure_dict(parameters), hidden, targets)
    return total, jax.lax.stop_gradient(nll)


def guiding(
    weights: Float[Array, "B H T S"], alignment: Float[Array, "B T S"], targets: Int[Array, "B T"]
) -> Float[Array, ""]:
    """Cross-entropy of attention weights against given alignments (Chen 2016, equation 7; Garg 2019, equation 2).

    Args:
        weights: of the guided heads.
        alignment: for each target token the shares of its linked source tokens; tokens without links have no loss.
        targets: positions of PAD have no loss.

    Returns:
        The sum over all linked tokens of the mean over the heads, in nats.
    """
    linked = alignment * (targets != PAD)[:, :, None]
    return -jnp.sum(linked[:, None] * jnp.log(jnp.maximum(weights, 1e-9))) / weights.shape[1]


def _piece(
    graph: Any, smoothing: float, parameters: Any, hidden: Array, targets: Array, gradient: bool
) -> tuple[Array, Array, Any]:
    """Loss, negative log-likelihood of each token, and optionally the gradients by parameters and hidden states."""
    shape = hidden.shape
    # One axis of tokens: XLA:CPU then makes no transposed copy of the logits' gradient.
    hidden, targets = hidden.reshape(-1, shape[-1]), targets.reshape(-1)

    def apply(parameters: Any, hidden: Array) -> Array:
        return nnx.merge(graph, parameters)(hidden)

    if gradient:
        logits, pull = jax.vjp(apply, parameters, hidden)
    else:
        logits = apply(parameters, hidden)
    V = logits.shape[-1]
    weight = (targets != PAD).astype(jnp.float32)
    normaliser = jax.nn.logsumexp(logits, -1)
    nll = normaliser - jnp.take_along_axis(logits, targets[..., None], -1)[..., 0]
    loss = (1 - smoothing) * nll + smoothing * (normaliser - logits.mean(-1))
    total, nll = jnp.sum(loss * weight), (nll * weight).reshape(shape[:-1])
    if not gradient:
        return total, nll, None
    hit = jax.nn.one_hot(targets, V, dtype=logits.dtype)
    cotangent = jnp.exp(logits - normaliser[..., None]) - smoothing / V - (1 - smoothing) * hit
    by_parameters, by_hidden = pull(cotangent * weight[..., None])
    return total, nll, (by_parameters, by_hidden.reshape(shape))


def _scan(
    graph: Any, smoothing: float, chunk: int, gradient: bool, parameters: Any, hidden: Array, targets: Array
) -> tuple[Array, Array, Any, Array | None]:
    B, T, _ = hidden.shape
    width = max(1, min(chunk // B, T))
    pad = -T % width
    pieces = (T + pad) // width

    def cut(x: Array) -> Array:
        x = jnp.pad(x, [(0, 0), (0, pad)] + [(0, 0)] * (x.ndim - 2))
        return jnp.moveaxis(x.reshape(B, pieces, width, *x.shape[2:]), 1, 0)

    def join(x: Array) -> Array:
        return jnp.moveaxis(x, 0, 1).reshape(B, T + pad, *x.shape[3:])[:, :T]

    def step(carry: tuple[Array, Any], piece: tuple[Array, Array]) -> tuple[tuple[Array, Any], tuple[Array, Any]]:
        total, by_parameters = carry
        loss, nll, gradients = _piece(graph, smoothing, parameters, *piece, gradient)
        if not gradient:
            return (total + loss, None), (nll, None)
        by_parameters = jax.tree.map(jnp.add, by_parameters, gradients[0])
        return (total + loss, by_parameters), (nll, gradients[1])

    start = (jnp.zeros(()), jax.tree.map(jnp.zeros_like, parameters) if gradient else None)
    # Matrices are converted to the hidden states' precision once, not in every chunk. Gradients are summed in float32.
    parameters = jax.tree.map(lambda p: p.astype(hidden.dtype) if p.ndim > 1 else p, parameters)
    (total, by_parameters), (nll, by_hidden) = jax.lax.scan(step, start, (cut(hidden), cut(targets)))
    return total, join(nll), by_parameters, join(by_hidden) if gradient else None


@partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def _chunked(
    graph: Any, smoothing: float, chunk: int, parameters: Any, hidden: Array, targets: Array
) -> tuple[Array, Array]:
    return _scan(graph, smoothing, chunk, False, parameters, hidden, targets)[:2]


def _forward(
    graph: Any, smoothing: float, chunk: int, parameters: Any, hidden: Array, targets: Array
) -> tuple[tuple[Array, Array], tuple[Any, Array | None]]:
    total, nll, by_parameters, by_hidden = _scan(graph, smoothing, chunk, True, parameters, hidden, targets)
    return (total, nll), (by_parameters, by_hidden)


def _backward(
    graph: Any, smoothing: float, chunk: int, gradients: tuple[Any, Array], cotangents: tuple[Array, Array]
) -> tuple[Any, Array, None]:
    by_parameters, by_hidden = gradients
    scale = cotangents[0]
    return jax.tree.map(lambda g: g * scale, by_parameters), (by_hidden * scale).astype(by_hidden.dtype), None


_chunked.defvjp(_forward, _backward)
