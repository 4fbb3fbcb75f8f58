"""Permutations that are computed place by place, so that an order of forty million needs no list.

A keyed Feistel network permutes the numbers of a given number of bits; a result beyond the range is fed back until it
falls inside (cycle walking; Black and Rogaway 2002, "Ciphers with arbitrary finite domains", sections 3 and 5). This is
a permutation for any round function, whose quality determines how random it looks. All arithmetic is on 64-bit
integers, so that an order is the same on every machine and with every version of numpy.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[Any]

MASK = 2**64 - 1
ROUNDS = 6
SMALL = 256
"""Up to this size, keys are sorted instead: a network of so few bits is too regular."""


def permute(places: Ints, size: int, key: int) -> Ints:
    """[n] where the permutation `key` of range(size) takes each of the [n] `places`; int64.

    Raises ValueError for places outside of the range.
    """
    places = np.asarray(places, np.uint64)
    if len(places) and int(places.max()) >= size:
        raise ValueError(f"place {places.max()} is outside of range({size})")
    if size <= SMALL:
        return np.argsort(mix(np.arange(size, dtype=np.uint64), key), kind="stable")[places.astype(np.int64)]
    bits, keys = np.uint64((size - 1).bit_length()), [key_of(key, number) for number in range(ROUNDS)]
    result = _feistel(places, bits, keys)
    outside = np.flatnonzero(result >= np.uint64(size))
    while len(outside):
        result[outside] = _feistel(result[outside], bits, keys)
        outside = outside[result[outside] >= np.uint64(size)]
    return result.astype(np.int64)


def permute_each(places: Ints, sizes: Ints, keys: Ints) -> Ints:
    """[n] where separate permutations take the [n] `places`, int64: place i that of range(sizes[i]) with keys[i].

    These permutations differ from those of `permute` and are more regular for few places, but need no loop over the
    sizes.
    """
    sizes, bits = np.asarray(sizes, np.uint64), np.frexp(sizes - 1)[1].astype(np.uint64)
    rounds = [mix(keys, key_of(number)) for number in range(ROUNDS)]
    result = _feistel(np.asarray(places, np.uint64), bits, rounds)
    outside = np.flatnonzero(result >= sizes)
    while len(outside):
        result[outside] = _feistel(result[outside], bits[outside], [key[outside] for key in rounds])
        outside = outside[result[outside] >= sizes[outside]]
    return result.astype(np.int64)


def key_of(*numbers: int) -> int:
    """One key of 64 bits from several whole numbers, in their order."""
    key = 0
    for number in numbers:
        key = _finalize((key ^ number % 2**64) + 0x9E3779B97F4A7C15 & MASK)
    return key


def _finalize(value: int) -> int:
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 & MASK
    value = (value ^ value >> 27) * 0x94D049BB133111EB & MASK
    return value ^ value >> 31


def mix(values: Ints, key: int | Ints) -> Ints:
    """[n] uint64: the finalizer of splitmix64 (Steele et al. 2014) on values offset by the key, or each by its own."""
    values = values + np.asarray(key, np.uint64)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Ints = values ^ (values >> np.uint64(31))
    return mixed


def _feistel(values: Ints, bits: np.uint64 | Ints, keys: Sequence[int | Ints]) -> Ints:
    """A permutation of range(2 ** bits), with a key for each round; its halves may differ by a bit, and are swapped
    every round. `bits` and each key are shared by all values, or [n], one for each."""
    one = np.uint64(1)
    low, high = bits // np.uint64(2), bits - bits // np.uint64(2)
    for key in keys:
        left, right = values >> low, values & ((one << low) - one)
        left = (left ^ mix(right, key)) & ((one << high) - one)
        values = (right << high) | left
        low, high = high, low
    return values
