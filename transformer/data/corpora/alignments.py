"""Word alignments in the Pharaoh format: "0-0 1-2", 0-indexed, source first, words split at spaces."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import overload

from transformer.data.corpora.files import stream_lines
from transformer.data.corpora.text import digest
from transformer.errors import TransformerError

Alignment = tuple[tuple[int, int], ...]
"""Word links (source word, target word), 0-indexed."""

LINKS = re.compile(r"(\d+-\d+(\s+\d+-\d+)*)?")


class Alignments(Sequence[Alignment]):
    """Word alignments that are parsed from their lines on access."""

    def __init__(self, lines: Sequence[str]) -> None:
        self._lines = lines

    @property
    def digest(self) -> str:
        """Equal for equal lines."""
        return digest(self._lines)

    def __len__(self) -> int:
        return len(self._lines)

    @overload
    def __getitem__(self, index: int) -> Alignment: ...
    @overload
    def __getitem__(self, index: slice) -> list[Alignment]: ...
    def __getitem__(self, index: int | slice) -> Alignment | list[Alignment]:
        lines = self._lines[index]
        return parse_alignment(lines) if isinstance(lines, str) else [parse_alignment(line) for line in lines]

    def __iter__(self) -> Iterator[Alignment]:
        return map(parse_alignment, self._lines)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]


def parse_alignment(line: str) -> Alignment:
    """ "0-0 1-2" as pairs of numbers. Raises ValueError for anything else."""
    pairs = [link.split("-") for link in line.split()]
    return tuple((int(source), int(target)) for source, target in pairs)


def format_alignment(alignment: Alignment) -> str:
    """The line that `parse_alignment` reads."""
    return " ".join(f"{source}-{target}" for source, target in alignment)


def check_alignment(line: str, path: Path, number: int) -> None:
    """Raises TransformerError, with the file and the line, unless the line is in the Pharaoh format."""
    if not LINKS.fullmatch(line.strip()):
        raise TransformerError(f'{path}, line {number}: not an alignment such as "0-0 1-2": {line!r}')


def read_alignments(path: Path, pairs: int) -> list[Alignment]:
    """Read a file of alignments, plain or .gz, with one line for each of the `pairs`.

    Raises TransformerError with the file and the line.
    """
    lines = list(stream_lines(path))
    for number, line in enumerate(lines, start=1):
        check_alignment(line, path, number)
    if len(lines) != pairs:
        raise TransformerError(f"{path} has {len(lines)} lines for {pairs} sentence pairs")
    return [parse_alignment(line) for line in lines]
