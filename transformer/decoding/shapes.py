"""Shapes of the search: few, and known before it starts, so that few programs are compiled.

They depend on the lengths of the sentences alone, never on the timing of threads.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

SHORTEST = 16
"""The smallest length that is compiled."""
FEW_SLOTS = 16
"""Slots of the small batch."""


class Shape(NamedTuple):
    """Lengths on which the arrays of a batch depend."""

    slots: int
    """B, sentences at once."""
    source: int
    """S, tokens of the longest source."""
    target: int
    """T, capacity of the translations in tokens."""
    prefix: int
    """P, tokens of the longest prefix."""


def padded_length(longest: int, limit: int) -> int:
    """The compiled length of arrays that hold `longest` tokens: a power of two, at least 16 and at most the limit."""
    return min(max(SHORTEST, 1 << (longest - 1).bit_length()), limit)


def make_shape(slots: int, source: int, prefix: int, limit: int) -> Shape:
    """The shape of a batch with sources of a compiled length.

    Translations have room for half as many tokens again, and 8 more. If one needs more, the batch moves on to the next
    source length, so that both lengths grow together and there are as many shapes as source lengths.
    """
    return Shape(slots, source, min(source + source // 2 + 8, limit), prefix)


def longer(shape: Shape, limit: int) -> Shape:
    """The next shape with more room."""
    return make_shape(shape.slots, padded_length(shape.source + 1, limit), shape.prefix, limit)


def source_lengths(lengths: Sequence[int], limit: int, slots: int) -> list[int]:
    """The compiled source length of each sentence.

    Each length but the longest has at least `slots` sentences: with fewer, they are padded to the next one.

    Args:
        lengths: of the sources in tokens, ascending.
        limit: of the model.
        slots: of a batch; fewer sentences are not worth programs of their own.
    """
    padded = [padded_length(length, limit) for length in lengths]
    counts, next_length = Counter(padded), dict[int, int]()
    known = sorted(counts)
    for length, following in pairwise(known):
        if counts[length] < slots:
            next_length[length] = following
            counts[following] += counts[length]
    return [_last(next_length, length) for length in padded]


def _last(successors: dict[int, int], length: int) -> int:
    while length in successors:
        length = successors[length]
    return length


def batch_sizes(largest: int, devices: int) -> tuple[int, int]:
    """Slots of the small and of the large batch, multiples of the devices: few sentences take the small one."""
    return round_up(min(FEW_SLOTS, largest), devices), round_up(largest, devices)


def round_up(count: int, devices: int) -> int:
    """The smallest positive multiple of the number of devices that is not below the count."""
    return max(1, -(-count // devices)) * devices
