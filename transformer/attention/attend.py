"""From energies to the context: mask, softmax, weighted sum."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from transformer.nn.dropout import dropout


def masked_softmax(energies: Float[Array, "*B T S"], mask: Bool[Array, "*#B #T S"]) -> Float[Array, "*B T S"]:
    """Softmax over the positions the mask allows, in float32; a row that allows none is all zeros, never NaN.

    A position of the lowest energy there is counts as not allowed: a score's way to say that it does not know it.
    """
    mask, energies = mask & (energies > jnp.finfo(energies.dtype).min), energies.astype(jnp.float32)
    lowest = jnp.finfo(energies.dtype).min
    return jnp.where(mask, jax.nn.softmax(jnp.where(mask, energies, lowest)), 0)


def attend(
    energies: Float[Array, "*B T S"],
    values: Float[Array, "*B S K"],
    mask: Bool[Array, "*#B #T S"],
    *,
    gain: Float[Array, "*#B T S"] | None = None,
    rate: float = 0.0,
    key: PRNGKeyArray | None = None,
) -> tuple[Float[Array, "*B T K"], Float[Array, "*B T S"]]:
    """Context and weights (Vaswani 2017, equation 1; Bahdanau 2015, equations 5 and 6; Luong 2015, section 3).

    Args:
        energies: scores of each query with each key.
        values: what is summed.
        mask: positions that may be attended to.
        gain: multiplies the weights after the softmax (Luong 2015, equation 10); they then need not sum to one.
        rate: dropout on the weights that make the context; the weights returned are the undropped ones.
        key: no key, no dropout.
    """
    weights = masked_softmax(energies, mask)
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
    """The context of scaled dot products (Vaswani 2017, equation 1), weights and energies never given.

    By `jax.nn.dot_product_attention`: cuDNN's kernel where `cudnn_serves`, which keeps no [T, S] of any head, otherwise
    XLA's own way.
    """
    T, S = query.shape[-2], keys.shape[-2]
    context = jax.nn.dot_product_attention(
        query.swapaxes(1, 2),
        keys.swapaxes(1, 2),
        values.swapaxes(1, 2),
        mask=jnp.broadcast_to(mask, (*mask.shape[:2], T, S)),
        implementation="cudnn" if cudnn_serves(query, keys) else "xla",
    )
    # A query that may look nowhere gets the mean of all values there.
    return jnp.where(mask.any(-1, keepdims=True), context.swapaxes(1, 2), 0)


def cudnn_serves(query: Float[Array, "B H T K"], keys: Float[Array, "B H S K"]) -> bool:
    """Whether cuDNN's kernel takes these: in half precision, on an NVIDIA GPU of 2020 (Ampere) or later, heads whose
    width is a multiple of 8 up to 128, and even lengths (it takes masks of no others)."""
    (T, K), S, device = query.shape[-2:], keys.shape[-2], jax.devices()[0]
    half = query.dtype in (jnp.bfloat16, jnp.float16)
    if not half or device.platform != "gpu" or K % 8 or K > 128 or T % 2 or S % 2:
        return False
    return "cuda" in device.client.platform_version and float(device.compute_capability) >= 8
