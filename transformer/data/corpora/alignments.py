"""Word alignments in the Pharaoh format: "0-0 1-2", 0-indexed, source first, words split at spaces.

Alignments that come with a training text are an aligner's output, made elsewhere and from other files: their words may
count from 1, or be those of another tokenization. So they are checked against the sentences.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, overload

from transformer.data.corpora.files import stream_lines
from transformer.data.corpora.text import digest
from transformer.errors import TransformerError
from transformer.plurals import counted

Alignment = tuple[tuple[int, int], ...]
"""Word links (source word, target word), 0-indexed."""

LINKS = re.compile(r"([0-9]{1,9}-[0-9]{1,9}(\s+[0-9]{1,9}-[0-9]{1,9})*)?")
ENOUGH = 10
"""Fewest aligned pairs for concluding that words count from 1 if no link names word 0: most pairs have such a link."""


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
        shown = line if len(line) <= 80 else line[:80] + "..."
        raise TransformerError(f'{path}, line {number}: not an alignment such as "0-0 1-2": {shown!r}')


def read_alignments(path: Path, pairs: int) -> list[Alignment]:
    """Read a file of alignments, plain or .gz, with one line for each of the `pairs`.

    Raises TransformerError with the file and the line.
    """
    lines = list(stream_lines(path))
    for number, line in enumerate(lines, start=1):
        check_alignment(line, path, number)
    if len(lines) != pairs:
        raise TransformerError(f"{path} has {counted(len(lines), 'line')} for {counted(pairs, 'sentence pair')}")
    return [parse_alignment(line) for line in lines]


class Misplaced(NamedTuple):
    """Mismatches between alignments and their sentences."""

    aligned: int
    """Pairs with at least one link."""
    outside: list[int]
    """Positions of the pairs of which a link names a word beyond its sentence."""
    first: str
    """The first of these links, in words."""
    names_word_0: bool
    """Whether any link names word 0 of either side."""

    @property
    def seems_shifted(self) -> bool:
        """Whether words seem to count from 1."""
        return self.aligned >= ENOUGH and not self.names_word_0

    @property
    def message(self) -> str:
        """How many alignments are unusable."""
        pairs = f"{len(self.outside):,} of {counted(self.aligned, 'aligned pair')}"
        return f"links name words beyond their sentence in {pairs} (first: {self.first})"

    def refuse(self, path: Path, advice: str) -> None:
        """Raises TransformerError if most alignments are unusable; `advice` is for words that count from 1."""
        if 2 * len(self.outside) <= self.aligned:
            return
        reason = "words are split at spaces and count from 0; are these the links of another text or tokenization?"
        if not self.names_word_0:
            reason = f"no link names word 0, so words seem to count from 1: {advice}"
        raise TransformerError(f"{path}: {self.message}; {reason}")


def find_misplaced(pairs: Iterable[tuple[Alignment, tuple[int, int]]], first: int = 0) -> Misplaced:
    """Compare alignments with the numbers of words of their pairs; `first` is how the file numbers a first word."""
    aligned, outside, found, names_word_0 = 0, [], "", False
    for position, (alignment, (source, target)) in enumerate(pairs):
        aligned += bool(alignment)
        names_word_0 |= any(0 in link for link in alignment)
        beyond = next((link for link in alignment if link[0] >= source or link[1] >= target), None)
        if beyond is not None:
            outside.append(position)
            link = f"{beyond[0] + first}-{beyond[1] + first}"
            found = found or f"line {position + 1}: {link} in a pair of {source} and {target} words"
    return Misplaced(aligned, outside, found, names_word_0)


def count_from_0(line: str, first: int, path: Path, number: int) -> str:
    """An alignment whose words count from `first`, with words that count from 0. Raises TransformerError."""
    if not first:
        return line
    alignment = tuple((source - first, target - first) for source, target in parse_alignment(line))
    if any(min(link) < 0 for link in alignment):
        raise TransformerError(f"{path}, line {number}: a link names word 0, so words count from 0, not from {first}")
    return format_alignment(alignment)
