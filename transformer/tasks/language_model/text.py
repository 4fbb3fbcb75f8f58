"""Texts: where they come from, and how they become examples."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from transformer.data.batching.batches import pad
from transformer.data.batching.buckets import Bucket
from transformer.data.batching.packing import pack
from transformer.data.batching.shuffle import key_of
from transformer.data.examples import Examples, Ragged, ragged
from transformer.special_tokens import BOS

Ints = NDArray[Any]


class Batch(NamedTuple):
    """Padded token ids, int32; 0 pads, and a row of zeros has weight zero."""

    inputs: Any
    """[B, T], BOS and text."""
    outputs: Any
    """[B, T]: what follows each position of `inputs`."""
    segments: Any = None
    """[B, T] which text of its row each token belongs to, from 1 on; None where a row has one text."""


def to_line(text: str) -> str:
    r"""A text of several lines as one line: a line break is written as \n, and a backslash twice."""
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def from_line(line: str) -> str:
    """The inverse of `to_line`; a single backslash before another character stays."""
    return "\\".join(part.replace("\\n", "\n") for part in line.split("\\\\"))


def blocks(tokens: Sequence[int], length: int, size: int) -> Examples:
    """A text cut into blocks; the last one may be shorter. `size` is that of the vocabulary."""
    values = np.asarray(tokens, np.int32)
    offsets = np.minimum(np.arange(0, len(values) + length, length, dtype=np.int64), len(values))
    return Examples({"text": Ragged(values, offsets, np.diff(offsets), size)})


def lines(rows: Sequence[Sequence[int]], size: int) -> Examples:
    """Texts of their own. `size` is that of the vocabulary."""
    column = ragged(rows)
    return Examples({"text": Ragged(column.values, column.offsets, column.lengths, size)})


def shifted(examples: Examples, ids: Ints, shift: int) -> Examples:
    """The blocks `ids`, each moved by `shift` tokens; what is beyond the end of the text comes from its beginning."""
    column: Ragged = examples["text"]
    lengths = column.lengths[ids]
    places = np.repeat(column.offsets[ids] + shift - np.cumsum(lengths) + lengths, lengths)
    places = (places + np.arange(len(places))) % len(column.values)
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    return Examples({"text": Ragged(column.values[places], offsets, lengths, column.size)})


def shift_of(seed: int, epoch: int, block: int) -> int:
    """How far the blocks of an epoch are moved; those of the first one are not."""
    return key_of(seed, epoch, 4) % block if epoch else 0


def assemble(examples: Examples, bucket: Bucket, ids: Ints, rows: Ints | None = None, *, shift: int = 0) -> Batch:
    """The batch of these examples ([n <= rows] ids); rows from n on are zeros. With `rows` (ascending), only these rows
    of it."""
    if rows is not None:
        bucket, ids = bucket._replace(rows=len(rows)), ids[rows[rows < len(ids)]]
    if shift:
        examples, ids = shifted(examples, ids, shift), np.arange(len(ids))
    outputs, real = pad(examples["text"], bucket.rows, bucket.lengths[0], ids)
    inputs = np.zeros_like(outputs)
    inputs[: len(ids), 0] = BOS
    inputs[: len(ids), 1:] = outputs[: len(ids), :-1] * real[:, 1:]
    return Batch(inputs, outputs)


def assemble_packed(examples: Examples, bucket: Bucket, ids: Ints, rows: Ints | None = None) -> Batch:
    """The batch whose rows hold several texts ([n <= rows, k] ids, -1 after a row's last one), see `assemble`."""
    ids = ids[:, None] if ids.ndim == 1 else ids
    if rows is not None:
        bucket, ids = bucket._replace(rows=len(rows)), ids[rows[rows < len(ids)]]
    outputs, segments = pack(examples["text"], bucket.rows, bucket.lengths[0], ids)
    before, after = (np.pad(part[:, :-1], [(0, 0), (1, 0)]) for part in (segments, outputs))
    inputs = np.where(before == segments, after, BOS) * (segments != 0)
    return Batch(inputs.astype(np.int32), outputs, segments)
