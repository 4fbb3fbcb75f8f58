"""Sentences on disk, memory-mapped: a corpus of any size takes no memory but the pages that are read.

A text is three files: `<name>.text`, the concatenated sentences in UTF-8; `<name>.offsets`, the start of each sentence
and the end of the last (raw int64); and `<name>.digest`, a hash of both.
"""

import hashlib
from collections.abc import Iterator, Sequence
from itertools import pairwise
from operator import eq
from pathlib import Path
from types import TracebackType
from typing import IO, Any, overload

import numpy as np
from numpy.typing import NDArray

from transformer.errors import TransformerError

CHUNK = 16_384
"""Sentences that are decoded or written at a time."""


class Text(Sequence[str]):
    """N sentences that `TextWriter` wrote, as a sequence of str. Pickled as its path."""

    def __init__(self, path: Path) -> None:
        """`path` is without suffix. Raises ValueError if the files are inconsistent, OSError if they cannot be read."""
        self.path = path
        size = path.with_suffix(".text").stat().st_size
        self._offsets: NDArray[Any] = np.memmap(path.with_suffix(".offsets"), np.int64, mode="r").view(np.ndarray)
        if self._offsets[0] != 0 or self._offsets[-1] != size:
            raise ValueError(f"{path}: wrong size")
        self.digest = path.with_suffix(".digest").read_text()
        """Equal for equal sentences; see the function `digest`."""
        self._bytes: NDArray[Any] = (
            np.memmap(path.with_suffix(".text"), np.uint8, mode="r").view(np.ndarray) if size else np.zeros(0, np.uint8)
        )

    def __reduce__(self) -> tuple[type["Text"], tuple[Path]]:
        return Text, (self.path,)

    def __len__(self) -> int:
        return len(self._offsets) - 1

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            if step != 1:
                return [self[i] for i in range(start, stop, step)]
            return self._decode(start, max(start, stop))
        if not -len(self) <= index < len(self):
            raise IndexError(f"sentence {index} of {len(self)}")
        return self._decode(index % len(self), index % len(self) + 1)[0]

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), CHUNK):
            yield from self[start : start + CHUNK]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(self) == len(other) and all(map(eq, self, other))

    __hash__ = None  # type: ignore[assignment]

    def _decode(self, start: int, stop: int) -> list[str]:
        edges = self._offsets[start : stop + 1].tolist()
        block = self._bytes[edges[0] : edges[-1]].tobytes()
        first = edges[0]
        try:
            return [block[a - first : b - first].decode("utf-8") for a, b in pairwise(edges)]
        except UnicodeDecodeError:
            raise TransformerError(
                f"{self.path.with_suffix('.text')} was damaged while it was in use: the same command rebuilds it"
            ) from None


class TextWriter:
    """Writes the files of a text sentence by sentence; they are complete when the context ends without an error."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes] | None = None

    def __enter__(self) -> "TextWriter":
        self._file = self._path.with_suffix(".text").open("wb")
        self._index = self._path.with_suffix(".offsets").open("wb")
        self._buffer: list[bytes] = []
        self._end, self._digest = 0, hashlib.blake2b(digest_size=16)
        np.zeros(1, np.int64).tofile(self._index)
        return self

    def append(self, sentence: str) -> None:
        """Append a sentence. Raises OSError if it cannot be written."""
        self._buffer.append(sentence.encode("utf-8"))
        if len(self._buffer) == CHUNK:
            self._flush()

    def _flush(self) -> None:
        assert self._file is not None
        sizes = np.fromiter(map(len, self._buffer), np.int64, len(self._buffer))
        ends = self._end + np.cumsum(sizes)
        block = b"".join(self._buffer)
        _update(self._digest, sizes, block)
        self._file.write(block)
        self._index.write(ends.tobytes())
        self._end = int(ends[-1]) if len(ends) else self._end
        self._buffer.clear()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._file is not None
        with self._file, self._index:
            if error is None:
                self._flush()
                self._path.with_suffix(".digest").write_text(self._digest.hexdigest())


def digest(sentences: Sequence[str]) -> str:
    """A hash of sentences, equal for a Text and a list with equal sentences."""
    if isinstance(sentences, Text):
        return sentences.digest
    hasher = hashlib.blake2b(digest_size=16)
    for start in range(0, len(sentences), CHUNK):
        block = [sentence.encode("utf-8") for sentence in sentences[start : start + CHUNK]]
        _update(hasher, np.fromiter(map(len, block), np.int64, len(block)), b"".join(block))
    return hasher.hexdigest()


def _update(hasher: "hashlib.blake2b", sizes: NDArray[Any], block: bytes) -> None:
    if len(sizes):
        hasher.update(sizes.tobytes())
        hasher.update(block)
