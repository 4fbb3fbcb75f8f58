"""From energies to the context: mask, softmax, weighted sum."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from transformer.dropout import dropout


def masked_softmax(energies: Float[Array, "*B T S"], mask: Bool[Array, "*#B #T S"]) -> Float[Array, "*B T S"]:
    """Softmax over the positions the mask allows; a row that allows none is all zeros, never NaN.

    A position of the lowest energy there is counts as not allowed: a score's way to say that it does not know it.
    """
    lowest = jnp.finfo(energies.dtype).min
    mask = mask & (energies > lowest)
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
    return jnp.einsum("...ts,...sk->...tk", dropout(weights, rate, key), values), weights
