"""Dropout whose mask costs little: a counter hash instead of a generator's stream."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, UInt32


def dropout(x: Float[Array, "*D"], rate: float, key: PRNGKeyArray | None) -> Float[Array, "*D"]:
    """Zero each element with probability `rate`, scale the others by 1 / (1 - rate). No key: x itself.

    The mask depends only on the key and the element's position, so it is the same for every sharding of the array:
    where each device computes its own rows (see `sharding.sum_over_rows`), rows are axis 0, and positions count from
    the device's first row. The backward pass draws the mask again, which is cheaper than keeping it.
    """
    if key is None or rate == 0.0:
        return x
    return _dropped(rate, x, _words(key))


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _dropped(rate: float, x: Array, words: Array) -> Array:
    threshold = np.uint32(round(rate * 2**32))
    return jnp.where(_hash(words, x.shape) >= threshold, x * (1 / (1 - rate)), 0)


def _forward(rate: float, x: Array, words: Array) -> tuple[Array, Array]:
    return _dropped(rate, x, words), words


def _backward(rate: float, words: Array, cotangent: Array) -> tuple[Array, None]:
    return _dropped(rate, cotangent, words), None


_dropped.defvjp(_forward, _backward)


def random_bits(key: PRNGKeyArray, shape: tuple[int, ...]) -> UInt32[Array, "*D"]:
    """32 random bits for each element: its position, hashed twice, once with each word of the key.

    The hash is MurmurHash3's finaliser (Appleby, public domain), a bijection of 32-bit words with full avalanche. An
    element costs a dozen integer operations, which XLA fuses with their use; threefry costs twenty rounds. Not for
    cryptography.
    """
    return _hash(_words(key), shape)


def _words(key: PRNGKeyArray) -> UInt32[Array, "2"]:
    return jax.random.bits(key, (2,), jnp.uint32)


def _hash(words: UInt32[Array, "2"], shape: tuple[int, ...]) -> UInt32[Array, "*D"]:
    return _mix(_mix(_positions(shape) ^ words[0]) + words[1])


def _positions(shape: tuple[int, ...]) -> UInt32[Array, "*D"]:
    strides = np.cumprod([1, *shape[:0:-1]], dtype=np.uint64)[::-1].astype(np.uint32)
    axes = (jax.lax.broadcasted_iota(jnp.uint32, shape, axis) * s for axis, s in enumerate(strides))
    positions = sum(axes, jnp.zeros(shape, jnp.uint32))
    shared = jax.sharding.get_abstract_mesh().manual_axes
    if not shared or not shape:
        return positions
    share = shape[0] * int(strides[0]) % 2**32
    return positions + jax.lax.axis_index(shared).astype(jnp.uint32) * np.uint32(share)


def _mix(bits: UInt32[Array, "*D"]) -> UInt32[Array, "*D"]:
    bits = (bits ^ (bits >> 16)) * np.uint32(0x85EBCA6B)
    bits = (bits ^ (bits >> 13)) * np.uint32(0xC2B2AE35)
    return bits ^ (bits >> 16)


def split_key(key: PRNGKeyArray | None, count: int) -> list[PRNGKeyArray | None]:
    """Independent keys for the dropouts of one layer; all None where `key` is None."""
    return [None] * count if key is None else list(jax.random.split(key, count))
