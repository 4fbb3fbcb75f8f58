"""Permutations that are computed place by place, so that an order of forty million needs no list of it.

A keyed Feistel network permutes the numbers of so many bits; a result beyond the range is put in again until it falls
inside (cycle walking; Black and Rogaway 2002, "Ciphers with arbitrary finite domains", sections 3 and 5). Whatever the
round function, this is a permutation; that it looks random is the round function's doing. All arithmetic is on 64-bit
integers, so that an order is the same on every machine and with every version of numpy.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[Any]

MASK = 2**64 - 1
ROUNDS = 6
SMALL = 256
"""Up to here all keys are sorted: a network of so few bits is too regular."""


def permute(places: Ints, size: int, key: int) -> Ints:
    """[n] where the permutation `key` of range(size) takes each of the [n] `places`; int64.

    Raises ValueError for places outside of the range.
    """
    places = np.asarray(places, np.uint64)
    if len(places) and int(places.max()) >= size:
        raise ValueError(f"place {places.max()} is outside of range({size})")
    if size <= SMALL:
        return np.argsort(mix(np.arange(size, dtype=np.uint64), key), kind="stable")[places.astype(np.int64)]
    bits = (size - 1).bit_length()
    result = _feistel(places, bits, key)
    outside = np.flatnonzero(result >= np.uint64(size))
    while len(outside):
        result[outside] = _feistel(result[outside], bits, key)
        outside = outside[result[outside] >= np.uint64(size)]
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


def mix(values: Ints, key: int) -> Ints:
    """[n] uint64: the finalizer of splitmix64 (Steele et al. 2014) on values offset by the key."""
    values = values + np.uint64(key)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Ints = values ^ (values >> np.uint64(31))
    return mixed


def _feistel(values: Ints, bits: int, key: int) -> Ints:
    """A permutation of range(2 ** bits); its halves may differ by a bit, and change places every round."""
    low, high = bits // 2, bits - bits // 2
    for number in range(ROUNDS):
        left, right = values >> np.uint64(low), values & np.uint64((1 << low) - 1)
        left = (left ^ mix(right, key_of(key, number))) & np.uint64((1 << high) - 1)
        values = (right << np.uint64(high)) | left
        low, high = high, low
    return values
