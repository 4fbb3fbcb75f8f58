"""Examples as named columns: ragged integers (the tokens of a sentence), or arrays with a row for each example.

Ragged columns have lengths, and these decide which batch an example goes into. What is on disk is memory-mapped.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Ints: TypeAlias = NDArray[Any]


@dataclass(frozen=True)
class Ragged:
    """A sequence of integers for each example. Example i has `values[offsets[i]:offsets[i + 1]]`."""

    values: Ints
    """[total] of all examples, end to end."""
    offsets: Ints
    """[N + 1] int64."""
    lengths: Ints
    """[N]."""
    size: int = 0
    """Entries of the vocabulary: every value is below it. 0: unknown."""

    def __getitem__(self, index: int) -> Ints:
        return self.values[self.offsets[index] : self.offsets[index + 1]]


@dataclass(frozen=True)
class Links:
    """Word alignments of all examples, in tokens. Example i's are `pairs[offsets[i]:offsets[i + 1]]`."""

    pairs: Ints
    """[total links, 2] uint16: source token, target token, in memory."""
    offsets: Ints
    """[N + 1] int64, in memory."""
    unusable: int
    """Examples without links although the corpus has some: their text is not split into words as the links assume."""


@dataclass(frozen=True)
class Examples:
    """N examples, in the corpus's order without those that were dropped."""

    columns: Mapping[str, Ragged | Ints]
    """By name; the first is ragged. An array leads with [N, ...]."""
    dropped: dict[str, int] = field(default_factory=dict)
    """Examples left out, by reason; empty when none was."""
    key: str = ""
    """Hash of everything that they were made from; empty for examples that are not on disk."""
    links: Links | None = None
    """Word alignments between the columns `source` and `target`."""
    sentences: Ints | None = None
    """[N] int64, on disk: which line of the corpus each example is; None for examples that are not on disk."""
    folder: Path | None = None

    def __len__(self) -> int:
        return len(next(iter(self.lengths.values())))

    def __getitem__(self, name: str) -> Any:
        return self.columns[name]

    @property
    def lengths(self) -> dict[str, Ints]:
        """[N] of each ragged column."""
        return {name: column.lengths for name, column in self.columns.items() if isinstance(column, Ragged)}

    def example(self, index: int) -> tuple[Ints, ...]:
        """All columns of an example. Raises IndexError outside 0..N-1."""
        if not 0 <= index < len(self):
            raise IndexError(f"example {index} of {len(self)}")
        return tuple(column[index] for column in self.columns.values())


def ragged(rows: Sequence[Sequence[int]]) -> Ragged:
    """A column in memory."""
    lengths = np.fromiter(map(len, rows), np.int64, len(rows))
    values = np.fromiter(chain.from_iterable(rows), np.int32, int(lengths.sum()))
    return Ragged(values, np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]), lengths)
