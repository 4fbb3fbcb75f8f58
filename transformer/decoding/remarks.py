"""Remarks about lines (truncated, unknown words, ...), counted over the pieces of a text and reported once.

`remark` logs a warning with the number of lines and the first of them. Within `collected`, remarks are added up
instead, and the caller reports them when the whole text is done.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

log = logging.getLogger(__name__)


class Remarks:
    """The number of lines and the first line of each remark."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[int, int]] = {}

    def add(self, what: str, lines: Sequence[int]) -> None:
        """Count lines, given by their numbers; nothing for no lines."""
        if lines:
            count, first = self._found.get(what, (0, lines[0]))
            self._found[what] = count + len(lines), min(first, lines[0])

    def report(self) -> None:
        """Log a warning for each remark."""
        for what, (count, first) in self._found.items():
            log.warning("%s: %d (first: line %d)", what, count, first)


_collecting: ContextVar[Remarks | None] = ContextVar("remarks", default=None)


def remark(what: str, lines: Sequence[int]) -> None:
    """Report lines, given by their numbers in ascending order, or count them if remarks are collected."""
    remarks = _collecting.get() or Remarks()
    remarks.add(what, lines)
    if _collecting.get() is None:
        remarks.report()


@contextmanager
def collected(remarks: Remarks | None = None) -> Iterator[Remarks]:
    """Collect the remarks that are made inside, together with those of `remarks`; the caller reports them."""
    remarks = remarks or Remarks()
    token = _collecting.set(remarks)
    try:
        yield remarks
    finally:
        _collecting.reset(token)
