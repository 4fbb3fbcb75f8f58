"""`transformer tokenize`: how a run's tokenizer cuts text."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from transformer.commands.options import Command, RunFolder
from transformer.config import read_config
from transformer.errors import UsageError

if TYPE_CHECKING:
    from transformer.data.tokenizers.tokenizer import Tokenizer

MERGES = ("bpe", "byte_bpe")
"""Kinds of tokenizers that merge pairs."""


@dataclass(frozen=True)
class Tokenize(Command):
    """Show how a run's tokenizer cuts text: the pieces of each line, their ids, and where they are.

    "▁" begins a word; of byte_bpe "Ġ" is a space.
    """

    run: RunFolder
    input: str = "-"
    """A file, plain or .gz; - is standard input."""
    side: Literal["source", "target"] = "source"
    """Whose tokenizer, where there are two."""
    format: Literal["table", "text", "json"] = "table"
    """Format of the output. table: a row for each token, with its characters counted from 0. text: the pieces of a
    line, separated by spaces. json: an object for each line."""
    steps: bool = False
    """Show the merges of byte-pair encoding one by one, for each word of a line."""

    def check(self) -> None:
        kind = read_config(Path(self.run)).tokenizer.kind
        if self.steps and kind not in MERGES:
            raise UsageError(f"--steps shows merges, and {self.run} has --tokenizer.kind={kind}, which has none")
        if self.steps and self.format == "text":
            raise UsageError("--steps has no --format text: give table or json")

    def execute(self) -> None:
        from transformer.data.corpora.files import stream_lines
        from transformer.data.tokenizers.files import load_tokenizers
        from transformer.storage.run import Run

        tokenizer = getattr(load_tokenizers(Run(Path(self.run)).tokenizer), self.side)
        for number, line in enumerate(stream_lines(None if self.input == "-" else Path(self.input)), 1):
            for text in shown(self, tokenizer, line, number):
                print(text, flush=True)


def shown(options: Tokenize, tokenizer: "Tokenizer", line: str, number: int) -> Iterator[str]:
    """What is printed of a line."""
    from transformer.data.tokenizers.shown import merges, spans

    ids, steps = tokenizer.encode(line), merges(tokenizer, line) if options.steps else None
    pieces = tokenizer.pieces(ids)
    if options.format == "text":
        yield " ".join(pieces)
        return
    places = spans(tokenizer, line)
    if options.format == "json":
        row = {"line": number, "text": tokenizer.normal(line), "pieces": pieces, "ids": ids, "offsets": places}
        yield json.dumps(row | ({} if steps is None else {"steps": steps}), ensure_ascii=False)
        return
    yield line
    yield from _table(pieces, ids, places)
    for word in steps or []:
        yield ""
        yield from ("  " + " ".join(step) for step in word)
    yield ""


def _table(pieces: list[str], ids: list[int], places: list[tuple[int, int]]) -> Iterator[str]:
    width = max(map(len, pieces), default=0)
    for piece, id_, (start, end) in zip(pieces, ids, places, strict=True):
        yield f"  {piece!s:{width}}  {id_:>6}  {start}-{end}"
