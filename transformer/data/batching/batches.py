"""Padding of examples to batches, and the batches that cover a validation set once."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transformer.data import config
from transformer.data.batching.buckets import Bucket, Lengths, assign, round_up, rows_of
from transformer.data.examples import Ragged
from transformer.errors import TransformerError
from transformer.special_tokens import PAD

Ints = NDArray[Any]


def each_once(
    lengths: Lengths, batching: config.Batching, buckets: Sequence[Bucket], multiple: int
) -> list[tuple[Bucket, Ints]]:
    """Batches (shape, example ids [n <= rows]) that cover each example once, by length: for validation.

    The training `buckets` are used where they fit, so that nothing new is compiled; longer examples go into 1 more
    shape.
    """
    columns = list(lengths.values())
    everything = list(buckets)
    numbers = assign(columns, [bucket.lengths for bucket in buckets])
    misfits = numbers == len(buckets)
    if misfits.any():
        widest = tuple(round_up(int(column[misfits].max()), batching.length_multiple) for column in columns)
        most = rows_of(batching.tokens, max(widest), multiple)
        everything.append(Bucket(min(most, round_up(int(misfits.sum()), multiple)), widest))
    order = np.lexsort((np.sum(columns, axis=0), np.maximum.reduce(columns)))
    batches = []
    for number, bucket in enumerate(everything):
        ids = order[numbers[order] == number]
        batches += [(bucket, ids[start : start + bucket.rows]) for start in range(0, len(ids), bucket.rows)]
    return batches


def pad(column: Ragged, rows: int, length: int, ids: Ints) -> tuple[Ints, NDArray[np.bool_]]:
    """(values [rows, length] int32, which of them are real [n, length]) of the examples `ids` [n <= rows].

    Raises TransformerError for a value outside the vocabulary: the file was damaged after it was opened.
    """
    places = np.arange(length)
    real = places < column.lengths[ids][:, None]
    padded = np.full((rows, length), PAD, np.int32)
    flat = column.offsets[ids][:, None] + places
    padded[: len(ids)][real] = column.values[flat[real]]
    check_tokens(padded, column)
    return padded, real


def check_tokens(tokens: Ints, column: Ragged) -> None:
    """Raises TransformerError for an int32 token outside the vocabulary of its column."""
    if column.size and (largest := int(tokens.view(np.uint32).max(initial=0))) >= column.size:  # negative ones too
        raise TransformerError(
            f"token {largest} of a vocabulary of {column.size} entries: the tokenised text in --data.cache was damaged "
            "while it was in use; --resume rebuilds it"
        )
