"""From energies to the context: mask, weights, weighted sum."""

from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from transformer.nn.dropout import dropout

Normalize: TypeAlias = Callable[[Array, Array], Array]
"""(energies [*B T S] in float32, mask [*B T S]) -> weights [*B T S]."""


def masked_softmax(energies: Float[Array, "*B T S"], mask: Bool[Array, "*#B #T S"]) -> Float[Array, "*B T S"]:
    """Softmax over the positions that the mask allows; a row that allows none is all zeros, never NaN."""
    lowest = jnp.finfo(energies.dtype).min
    return jnp.where(mask, jax.nn.softmax(jnp.where(mask, energies, lowest)), 0)


def weigh(
    energies: Float[Array, "*B T S"], mask: Bool[Array, "*#B #T S"], normalize: Normalize = masked_softmax
) -> Float[Array, "*B T S"]:
    """Weights in float32.

    A position whose energy is the lowest number of its type is not allowed either: scores mark positions in this way
    that they cannot score.
    """
    scored = energies > jnp.finfo(energies.dtype).min
    return normalize(energies.astype(jnp.float32), mask & scored)


def attend(
    energies: Float[Array, "*B T S"],
    values: Float[Array, "*B S K"],
    mask: Bool[Array, "*#B #T S"],
    *,
    normalize: Normalize = masked_softmax,
    bias: Float[Array, "*#B #T S"] | None = None,
    gain: Float[Array, "*#B T S"] | None = None,
    rate: float = 0.0,
    key: PRNGKeyArray | None = None,
) -> tuple[Float[Array, "*B T K"], Float[Array, "*B T S"]]:
    """Context and weights (Vaswani 2017, equation 1; Bahdanau 2015, equations 5 and 6; Luong 2015, section 3).

    Args:
        energies: scores of each query with each key.
        values: what is summed.
        mask: positions that may be attended to.
        normalize: turns energies into weights, see `attention.normalizers`.
        bias: added to the energies, such as relative positions (Raffel 2020, section 2.1).
        gain: multiplies the weights (Luong 2015, equation 10); they then need not sum to one.
        rate: dropout on the weights that compute the context; the returned weights have none.
        key: no key, no dropout.
    """
    if bias is not None:
        energies = energies + bias
    weights = weigh(energies, mask, normalize)
    if gain is not None:
        weights = weights * gain
    kept = dropout(weights, rate, key).astype(values.dtype)
    return jnp.einsum("...ts,...sk->...tk", kept, values), weights


def fused(
    query: Float[Array, "B H T K"],
    keys: Float[Array, "B H S K"],
    values: Float[Array, "B H S K"],
    mask: Bool[Array, "#B 1 #T S"],
) -> Float[Array, "B H T K"]:
    """The context of scaled dot products (Vaswani 2017, equation 1), without returning energies or weights.

    Computed by `jax.nn.dot_product_attention`: with cuDNN's kernel where `cudnn_serves`, which keeps no array [T, S] of
    any head, and otherwise by XLA.
    """
    T, S = query.shape[-2], keys.shape[-2]
    context = jax.nn.dot_product_attention(
        query.swapaxes(1, 2),
        keys.swapaxes(1, 2),
        values.swapaxes(1, 2),
        mask=jnp.broadcast_to(mask, (*mask.shape[:2], T, S)),
        implementation="cudnn" if cudnn_serves(query, keys) else "xla",
    )
    # Where the mask allows no key, dot_product_attention returns the mean of all values.
    return jnp.where(mask.any(-1, keepdims=True), context.swapaxes(1, 2), 0)


def cudnn_serves(query: Float[Array, "B H T K"], keys: Float[Array, "B H S K"]) -> bool:
    """Whether cuDNN's kernel supports these arrays: half precision, an NVIDIA GPU of 2020 (Ampere) or later, a head
    width that is a multiple of 8 up to 128, and even lengths (a restriction of its masks)."""
    (T, K), S, device = query.shape[-2:], keys.shape[-2], jax.devices()[0]
    half = query.dtype in (jnp.bfloat16, jnp.float16)
    if not half or device.platform != "gpu" or K % 8 or K > 128 or T % 2 or S % 2:
        return False
    return "cuda" in device.client.platform_version and float(device.compute_capability) >= 8
