"""Dropout whose mask costs little: a counter hash instead of a generator's stream."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.random import define_prng_impl
from jaxtyping import Array, Float, Int, PRNGKeyArray, UInt32


def dropout(x: Float[Array, "*D"], rate: float, key: PRNGKeyArray | None) -> Float[Array, "*D"]:
    """Zero each element with probability `rate`, scale the others by 1 / (1 - rate). No key: x itself.

    The mask depends only on the key and the element's position, so it is the same for every sharding of the array: if
    each device computes its own rows (see `sharding.sum_over_rows`), rows are axis 0, and positions count from the
    device's first row; if they are computed piece by piece (see `key_of_piece`), from the piece's first row. The
    backward pass recomputes the mask, which is cheaper than storing it.
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


def key_of_piece(key: PRNGKeyArray, number: Int[Array, ""], pieces: int) -> PRNGKeyArray:
    """A key with which piece `number` of a batch, whose rows are cut into equal `pieces`, gets the dropout masks that
    its rows get with `key` in the whole batch. Keys split from it belong to the same piece. Other functions of
    `jax.random` draw for each piece independently."""
    piece = jnp.stack([jnp.asarray(number, jnp.uint32), jnp.uint32(pieces)])
    return jax.random.wrap_key_data(jnp.concatenate([jax.random.key_data(key)[:2], piece]), impl=_PIECE)


def _words(key: PRNGKeyArray) -> UInt32[Array, "N"]:
    """Two words to hash with; those of a piece are followed by its number and the number of pieces."""
    if key.dtype != jax.random.key_dtype(_PIECE):
        return jax.random.bits(key, (2,), jnp.uint32)
    data = jax.random.key_data(key)
    return jnp.concatenate([jax.random.bits(_inner(data), (2,), jnp.uint32), data[2:]])


def _hash(words: UInt32[Array, "N"], shape: tuple[int, ...]) -> UInt32[Array, "*D"]:
    return _mix(_mix(_positions(shape, words[2:]) ^ words[0]) + words[1])


def _positions(shape: tuple[int, ...], piece: UInt32[Array, "N"]) -> UInt32[Array, "*D"]:
    strides = np.cumprod([1, *shape[:0:-1]], dtype=np.uint64)[::-1].astype(np.uint32)
    axes = (jax.lax.broadcasted_iota(jnp.uint32, shape, axis) * s for axis, s in enumerate(strides))
    positions = sum(axes, jnp.zeros(shape, jnp.uint32))
    shared = jax.sharding.get_abstract_mesh().manual_axes
    if not shape or not (shared or piece.size):
        return positions
    block = jax.lax.axis_index(shared).astype(jnp.uint32) if shared else jnp.uint32(0)
    if piece.size:
        block = block * piece[1] + piece[0]
    return positions + block * np.uint32(shape[0] * int(strides[0]) % 2**32)


def _mix(bits: UInt32[Array, "*D"]) -> UInt32[Array, "*D"]:
    bits = (bits ^ (bits >> 16)) * np.uint32(0x85EBCA6B)
    bits = (bits ^ (bits >> 13)) * np.uint32(0xC2B2AE35)
    return bits ^ (bits >> 16)


def split_key(key: PRNGKeyArray | None, count: int) -> list[PRNGKeyArray | None]:
    """Independent keys for the dropouts of one layer; all None where `key` is None."""
    return [None] * count if key is None else list(jax.random.split(key, count))


def _inner(data: UInt32[Array, "4"]) -> PRNGKeyArray:
    return jax.random.wrap_key_data(data[:2], impl="threefry2x32")


def _of_same_piece(keys: Array, data: UInt32[Array, "4"]) -> UInt32[Array, "*D"]:
    words = jax.random.key_data(keys)
    return jnp.concatenate([words, jnp.broadcast_to(data[2:], words.shape)], -1)


def _bits_of_piece(data: UInt32[Array, "4"], width: int, shape: tuple[int, ...]) -> Array:
    return jax.random.bits(jax.random.fold_in(_inner(data), data[2]), shape, f"uint{width}")


_PIECE = define_prng_impl(
    key_shape=(4,),
    seed=lambda seed: jnp.append(jax.random.key_data(jax.random.key(seed)), jnp.array([0, 1], jnp.uint32)),
    split=lambda data, shape: _of_same_piece(jax.random.split(_inner(data), shape), data),
    random_bits=_bits_of_piece,
    fold_in=lambda data, number: _of_same_piece(jax.random.fold_in(_inner(data), number), data),
    name="piece",
    tag="piece",
)
"""Keys of two words of threefry, the number of a piece and the number of pieces."""
