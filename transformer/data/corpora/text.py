"""Sentences on disk, memory-mapped: a corpus of any size costs no memory but the pages that are read.

A text is three files: `<name>.text`, the sentences in UTF-8 end to end; `<name>.offsets`, where each of them starts
(raw int64, one more than there are sentences); and `<name>.digest`, a hash of both.
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

CHUNK = 16_384
"""Sentences decoded at once when a text is walked through."""


class Text(Sequence[str]):
    """N sentences that `TextWriter` wrote, as a sequence of str. Travels between processes as its path."""

    def __init__(self, path: Path) -> None:
        """`path` without the ending. Raises ValueError where the files do not fit, OSError where they cannot be
        read."""
        self.path = path
        size = path.with_suffix(".text").stat().st_size
        self._offsets: NDArray[Any] = np.memmap(path.with_suffix(".offsets"), np.int64, mode="r").view(np.ndarray)
        if self._offsets[0] != 0 or self._offsets[-1] != size:
            raise ValueError(f"{path}: wrong size")
        self.digest = path.with_suffix(".digest").read_text()
        """Equal for equal sentences; see `digest`."""
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
            return self._run(start, max(start, stop))
        if not -len(self) <= index < len(self):
            raise IndexError(f"sentence {index} of {len(self)}")
        return self._run(index % len(self), index % len(self) + 1)[0]

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), CHUNK):
            yield from self[start : start + CHUNK]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(self) == len(other) and all(map(eq, self, other))

    __hash__ = None  # type: ignore[assignment]

    def _run(self, start: int, stop: int) -> list[str]:
        edges = self._offsets[start : stop + 1].tolist()
        block = self._bytes[edges[0] : edges[-1]].tobytes()
        first = edges[0]
        return [block[a - first : b - first].decode("utf-8") for a, b in pairwise(edges)]


class TextWriter:
    """Writes the files of a text, sentence by sentence; they are whole when its context ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes] | None = None

    def __enter__(self) -> "TextWriter":
        self._file = self._path.with_suffix(".text").open("wb")
        self._index = self._path.with_suffix(".offsets").open("wb")
        self._waiting: list[bytes] = []
        self._end, self._digest = 0, hashlib.blake2b(digest_size=16)
        np.zeros(1, np.int64).tofile(self._index)
        return self

    def append(self, sentence: str) -> None:
        """One more sentence. Raises OSError where it cannot be written."""
        self._waiting.append(sentence.encode("utf-8"))
        if len(self._waiting) == CHUNK:
            self._flush()

    def _flush(self) -> None:
        assert self._file is not None
        sizes = np.fromiter(map(len, self._waiting), np.int64, len(self._waiting))
        ends = self._end + np.cumsum(sizes)
        block = b"".join(self._waiting)
        _update(self._digest, sizes, block)
        self._file.write(block)
        self._index.write(ends.tobytes())
        self._end = int(ends[-1]) if len(ends) else self._end
        self._waiting.clear()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._file is not None
        with self._file, self._index:
            if error is None:
                self._flush()
                self._path.with_suffix(".digest").write_text(self._digest.hexdigest())


def digest(sentences: Sequence[str]) -> str:
    """Equal for equal sentences, whether they are a Text or a list."""
    if isinstance(sentences, Text):
        return sentences.digest
    digested = hashlib.blake2b(digest_size=16)
    for start in range(0, len(sentences), CHUNK):
        block = [sentence.encode("utf-8") for sentence in sentences[start : start + CHUNK]]
        _update(digested, np.fromiter(map(len, block), np.int64, len(block)), b"".join(block))
    return digested.hexdigest()


def _update(digested: "hashlib.blake2b", sizes: NDArray[Any], block: bytes) -> None:
    if len(sizes):
        digested.update(sizes.tobytes())
        digested.update(block)
