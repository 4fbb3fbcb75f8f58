"""Batches of sentence pairs."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from transformer.data.batching.batches import pad
from transformer.data.batching.buckets import Bucket
from transformer.data.batching.packing import pack
from transformer.data.examples import Examples, Links
from transformer.special_tokens import BOS

Ints = NDArray[Any]


class Batch(NamedTuple):
    """Padded token ids, int32; 0 pads, and a row of zeros has weight zero."""

    source: Any
    """[B, S], each sentence closed by EOS."""
    target_in: Any
    """[B, T], BOS and target."""
    target_out: Any
    """[B, T], target and EOS: the token after each position of `target_in`."""
    alignment: Any = None
    """[B, T, S] float32, or None where examples have no links: for each target token the share of each source token it
    is linked to; a row of zeros for a token without links."""
    segments: Any = None
    """`Segments` if a row holds several pairs, one after the other; otherwise None."""


class Segments(NamedTuple):
    """Which pair of its row each token belongs to, int32: the first is 1, and 0 is padding."""

    source: Any
    """[B, S]."""
    target: Any
    """[B, T]."""


def assemble(examples: Examples, bucket: Bucket, ids: Ints, rows: Ints | None = None) -> Batch:
    """The batch of these examples ([n <= rows] ids); rows from n on are zeros. With `rows` (ascending), only these rows
    of it."""
    if rows is not None:
        bucket, ids = bucket._replace(rows=len(rows)), ids[rows[rows < len(ids)]]
    S, T = bucket.lengths
    source, _ = pad(examples["source"], bucket.rows, S, ids)
    target_out, real = pad(examples["target"], bucket.rows, T, ids)
    target_in = np.zeros_like(target_out)
    target_in[: len(ids), 0] = BOS
    target_in[: len(ids), 1:] = target_out[: len(ids), :-1] * real[:, 1:]  # all but EOS, 1 to the right
    links = examples.links
    return Batch(source, target_in, target_out, None if links is None else _shares(links, bucket, ids))


def assemble_packed(examples: Examples, bucket: Bucket, ids: Ints, rows: Ints | None = None) -> Batch:
    """The batch whose rows hold several pairs ([n <= rows, k] ids, -1 after a row's last one), see `assemble`."""
    ids = ids[:, None] if ids.ndim == 1 else ids
    if rows is not None:
        bucket, ids = bucket._replace(rows=len(rows)), ids[rows[rows < len(ids)]]
    S, T = bucket.lengths
    source, source_segments = pack(examples["source"], bucket.rows, S, ids)
    target_out, target_segments = pack(examples["target"], bucket.rows, T, ids)
    before = np.pad(target_segments[:, :-1], [(0, 0), (1, 0)])
    shifted = np.pad(target_out[:, :-1], [(0, 0), (1, 0)])
    target_in = np.where(before == target_segments, shifted, BOS) * (target_segments != 0)
    segments = Segments(source_segments, target_segments)
    links = None if examples.links is None else _packed_shares(examples, bucket, ids)
    return Batch(source, target_in.astype(np.int32), target_out, links, segments)


def _shares(links: Links, bucket: Bucket, ids: Ints) -> Ints:
    S, T = bucket.lengths
    shares = np.zeros((bucket.rows, T, S), np.float32)
    for row, number in enumerate(ids):
        source, target = links.pairs[links.offsets[number] : links.offsets[number + 1]].T
        shares[row, target, source] = 1.0
    return shares / np.maximum(shares.sum(-1, keepdims=True), 1.0)


def _packed_shares(examples: Examples, bucket: Bucket, ids: Ints) -> Ints:
    assert examples.links is not None
    S, T = bucket.lengths
    shares = np.zeros((bucket.rows, T, S), np.float32)
    for row, numbers in enumerate(ids):
        i = j = 0
        for number in numbers[numbers >= 0]:
            source, target = examples.links.pairs[slice(*examples.links.offsets[number : number + 2])].T.astype(int)
            shares[row, j + target, i + source] = 1.0
            i, j = i + int(examples["source"].lengths[number]), j + int(examples["target"].lengths[number])
    return shares / np.maximum(shares.sum(-1, keepdims=True), 1.0)
