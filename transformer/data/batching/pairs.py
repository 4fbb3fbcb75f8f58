"""Batches of sentence pairs."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from transformer.data.batching.batches import pad
from transformer.data.batching.buckets import Bucket
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
    """[B, T], target and EOS: what follows each position of `target_in`."""
    alignment: Any = None
    """[B, T, S] float32, or None where examples have no links: for each target token the share of each source token it
    is linked to; a row of zeros for a token without links."""


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


def _shares(links: Links, bucket: Bucket, ids: Ints) -> Ints:
    S, T = bucket.lengths
    shares = np.zeros((bucket.rows, T, S), np.float32)
    for row, number in enumerate(ids):
        source, target = links.pairs[links.offsets[number] : links.offsets[number + 1]].T
        shares[row, target, source] = 1.0
    return shares / np.maximum(shares.sum(-1, keepdims=True), 1.0)
