"""Lines in, lines out, in order and in pieces, so that memory does not grow with the input.

A file appears under its name when it is complete. Until then it is NAME.part, with NAME.part.json next to it; an
interrupted one is resumed where it stopped.
"""

import hashlib
import json
import logging
import os
import stat
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from transformer.commands.options import is_stream, open_stream, refuse_existing
from transformer.data.corpora.files import stream_lines
from transformer.decoding.remarks import collected
from transformer.errors import TransformerError, UsageError
from transformer.plurals import counted
from transformer.storage.files import write_json

log = logging.getLogger(__name__)

FIRST, FIRST_OF_FILE, PIECE, SOME = 16, 1_024, 4_096, 512
"""Lines processed together: few at first from a pipe, so that output starts early, more from a file, and then up to
PIECE, so that batches stay full; at most SOME if their attention is kept until they are written."""

Pair: TypeAlias = tuple[str, str | None]
"""A line, and the prefix of its answer."""
Process: TypeAlias = Callable[[Iterator[Pair], int], Iterator[str]]
"""From lines and the number of the first one to text."""


class Streams(NamedTuple):
    """Where lines come from and go to."""

    input: str
    """A file; - is standard input."""
    output: str
    """A file; - is standard output."""
    prefix: str = ""
    """A file with the prefix of each answer."""

    @property
    def is_typed(self) -> bool:
        """Whether a person types the lines and reads each answer."""
        return self.input == "-" and sys.stdin.isatty()

    @property
    def _is_file(self) -> bool:
        """Whether all lines are already available. A pipe may wait for the first answers before it sends more."""
        return stat.S_ISREG(os.fstat(0).st_mode) if self.input == "-" else Path(self.input).is_file()

    @property
    def part(self) -> Path:
        """The unfinished output."""
        return Path(self.output + ".part")

    def check(self, *, resume: bool) -> None:
        """Raises UsageError if standard input is needed but closed, the output exists, or there is an unfinished output
        and no --resume."""
        if self.input == "-" and sys.stdin is None:
            raise UsageError("standard input is closed: give --input FILE")
        if resume and (self.input == "-" or is_stream(self.output)):
            raise UsageError("--resume needs files: give --input and --output")
        if is_stream(self.output):
            return
        refuse_existing("--output", self.output)
        if self._is_begun() and not resume:
            raise UsageError(f"{self.part} was interrupted: resume it with --resume, or remove it")

    def write(self, process: Process, made_of: dict[str, Any]) -> None:
        """Write what `process` yields for the lines and the number of the first one, and report the collected remarks.

        Args:
            process: to text that ends with a newline.
            made_of: what must be equal to resume an unfinished output, as JSON.
        """
        with collected() as remarks:
            if is_stream(self.output):
                self._write_stream(process)
            else:
                self._write_file(process, made_of)
        remarks.report()

    def _write_stream(self, process: Process) -> None:
        with open_stream(self.output) as stream:
            for text in process(self.pairs(), 1):
                stream.write(text)
                stream.flush()

    def _write_file(self, process: Process, made_of: dict[str, Any]) -> None:
        pairs = self.pairs()
        progress = Progress(Path(self.output + ".part.json"), json.loads(json.dumps(made_of)))
        done = self._resume(progress) if self._is_begun() else 0
        progress.skip(pairs, done)
        if progress.lines < done:
            raise UsageError(
                f"{self.part} has {counted(done, 'line')}, more than the input: it was made from a different one"
            )
        progress.write()
        with self.part.open("a", encoding="utf-8") as stream:
            for text in process(progress.watch(pairs), done + 1):
                stream.write(text)
                stream.flush()
                progress.write()
        self.part.rename(self.output)
        progress.path.unlink()

    def pairs(self) -> Iterator[Pair]:
        """Each line with the prefix of its answer."""
        lines = stream_lines(None if self.input == "-" else Path(self.input))
        if not self.prefix:
            yield from ((line, None) for line in lines)
            return
        for number, pair in enumerate(zip_longest(lines, stream_lines(Path(self.prefix))), 1):
            if None in pair:
                file = self.prefix if pair[1] is None else self.input
                raise TransformerError(f"{file} ends before line {number}: there must be as many prefixes as lines")
            yield pair

    def pieces(self, pairs: Iterator[Pair], most: int = 0) -> Iterator[Sequence[Pair]]:
        """Lines to be processed together, at most `most` or PIECE."""
        size = 1 if self.is_typed else min(FIRST_OF_FILE if self._is_file else FIRST, most or PIECE)
        while piece := list(islice(pairs, size)):
            yield piece
            size = 1 if self.is_typed else min(2 * size, most or PIECE)

    def _is_begun(self) -> bool:
        return self.part.exists() and self.part.stat().st_size > 0

    def _resume(self, progress: "Progress") -> int:
        """Number of complete lines in the unfinished output, which is truncated after them.

        Raises UsageError if it was made from anything else.
        """
        part = self.part
        try:
            old = json.loads(progress.path.read_text(encoding="utf-8"))
            before = {name: old.pop(name) for name in progress.read}
        except (OSError, ValueError, KeyError, AttributeError, TypeError):
            raise UsageError(
                f"{progress.path} is missing or damaged, so {part} cannot be resumed: remove the latter"
            ) from None
        differ = [name for name, value in progress.made_of.items() if old.get(name) != value]
        if differ:
            raise UsageError(f"{part} was made with a different {' and '.join(differ)}: give the same, or remove it")
        again = Progress(progress.path, {})
        again.skip(self.pairs(), before["lines"])
        size = lines = 0
        with part.open("rb") as stream:
            for line in stream:
                if line.endswith(b"\n"):
                    size, lines = size + len(line), lines + 1
        if again.read != before:
            raise UsageError(f"{part} was made from other lines: give the same input and prefixes, or remove it")
        os.truncate(part, size)
        log.info("resuming after line %d", lines)
        return lines


class Progress:
    """NAME.part.json: the provenance of an unfinished output, and a digest of the lines that were read for it."""

    def __init__(self, path: Path, made_of: dict[str, Any]):
        self.path, self.made_of = path, made_of
        self.lines, self._digest = 0, hashlib.sha256()

    def watch(self, pairs: Iterable[Pair]) -> Iterator[Pair]:
        """The pairs, counted."""
        for pair in pairs:
            self._digest.update(json.dumps(pair).encode())
            self.lines += 1
            yield pair

    def skip(self, pairs: Iterator[Pair], count: int) -> None:
        """Read the pairs that are already done, up to the given number."""
        deque(self.watch(islice(pairs, count)), maxlen=0)

    @property
    def read(self) -> dict[str, Any]:
        """Count and digest of the lines."""
        return {"lines": self.lines, "read": self._digest.hexdigest()}

    def write(self) -> None:
        write_json(self.path, self.made_of | self.read)
