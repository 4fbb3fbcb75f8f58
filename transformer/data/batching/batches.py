"""Batches: padded arrays of the examples that a plan, or a walk through a validation set, puts together."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from transformer.data import config
from transformer.data.batching.buckets import Bucket, assign, round_up, rows_of
from transformer.data.examples import Examples, Links, Side
from transformer.special_tokens import BOS, PAD

Ints = NDArray[Any]


class Batch(NamedTuple):
    """Padded token ids, int32; 0 pads, and a row of zeros has weight zero."""

    source: Any
    """[B, S], each sentence closed by the end mark."""
    target_in: Any
    """[B, T], begin mark and target."""
    target_out: Any
    """[B, T], target and end mark: what follows each position of `target_in`."""
    alignment: Any = None
    """[B, T, S] float32, or None where examples have no links: for each target token the share of each source token it
    is linked to; a row of zeros for a token without links."""


def fixed(
    source_lengths: Ints,
    target_lengths: Ints,
    batching: config.Batching,
    buckets: Sequence[Bucket],
    multiple: int,
) -> list[tuple[Bucket, Ints]]:
    """Batches (shape, example ids [n <= rows]) that cover each example once, by length: for validation.

    The training `buckets` serve where they fit, so that nothing new is compiled; what is longer than all of
    them goes into one more shape.
    """
    everything = list(buckets)
    numbers = assign(source_lengths, target_lengths, [bucket[1:] for bucket in buckets])
    misfits = numbers == len(buckets)
    if misfits.any():
        source = round_up(int(source_lengths[misfits].max()), batching.length_multiple)
        target = round_up(int(target_lengths[misfits].max()), batching.length_multiple)
        most = rows_of(batching.tokens, max(source, target), multiple)
        everything.append(Bucket(min(most, round_up(int(misfits.sum()), multiple)), source, target))
    order = np.lexsort((source_lengths + target_lengths, np.maximum(source_lengths, target_lengths)))
    batches = []
    for number, bucket in enumerate(everything):
        ids = order[numbers[order] == number]
        batches += [(bucket, ids[start : start + bucket.rows]) for start in range(0, len(ids), bucket.rows)]
    return batches


def assemble(examples: Examples, bucket: Bucket, ids: Ints, own: Ints | None = None) -> Batch:
    """The batch of these examples ([n <= rows] ids); rows from n on are zeros. With `own` (ascending), these rows of it
    alone."""
    if own is not None:
        bucket, ids = bucket._replace(rows=len(own)), ids[own[own < len(ids)]]
    source, _ = _pad(examples.source, bucket.rows, bucket.source_length, ids)
    target_out, real = _pad(examples.target, bucket.rows, bucket.target_length, ids)
    target_in = np.zeros_like(target_out)
    target_in[: len(ids), 0] = BOS
    target_in[: len(ids), 1:] = target_out[: len(ids), :-1] * real[:, 1:]  # all but the end mark, one to the right
    return Batch(
        source, target_in, target_out, None if examples.links is None else _shares(examples.links, bucket, ids)
    )


def _shares(links: Links, bucket: Bucket, ids: Ints) -> Ints:
    shares = np.zeros((bucket.rows, bucket.target_length, bucket.source_length), np.float32)
    for row, number in enumerate(ids):
        source, target = links.pairs[links.offsets[number] : links.offsets[number + 1]].T
        shares[row, target, source] = 1.0
    return shares / np.maximum(shares.sum(-1, keepdims=True), 1.0)


def _pad(side: Side, rows: int, length: int, ids: Ints) -> tuple[Ints, NDArray[np.bool_]]:
    """(tokens [rows, length] int32, which of them are real [n, length])."""
    places = np.arange(length)
    real = places < side.lengths[ids][:, None]
    padded = np.full((rows, length), PAD, np.int32)
    flat = side.offsets[ids][:, None] + places
    padded[: len(ids)][real] = side.tokens[flat[real]]
    return padded, real
