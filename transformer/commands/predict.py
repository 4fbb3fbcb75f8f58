"""`transformer predict`: the answer of any task to each line."""

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from transformer import check
from transformer.commands.options import Checkpoint, Command, RunFolder, Search
from transformer.config import read_config
from transformer.errors import UsageError

if TYPE_CHECKING:
    from transformer.commands.stream import Pair, Streams


@dataclass(frozen=True)
class Predict(Command):
    """Predict with a trained run of any task: one line out for each line in, in order.

    A sentence gives its translation, a text its label, a prompt its continuation. Reads standard input, or --input;
    writes standard output, or --output.
    """

    memory = "lower --batch or --beam"
    run: RunFolder
    input: str = "-"
    """A file, plain or .gz; - is standard input."""
    output: str = "-"
    """A new file, a pipe or a device; - is standard output."""
    format: Literal["text", "json"] = "text"
    """Format of the output. text: the prediction. json: one object per line, with further fields of the task."""
    resume: bool = False
    """Resume an --output that was interrupted, exactly where it stopped; start it if there is none."""
    search: Annotated[Search, tyro.conf.arg(name="")] = field(default_factory=Search)
    checkpoint: Checkpoint = "auto"

    @property
    def streams(self) -> "Streams":
        from transformer.commands.stream import Streams

        return Streams(self.input, self.output)

    def check(self) -> None:
        self.streams.check(resume=self.resume)
        config, given = read_config(Path(self.run)), self.search.overrides()
        if given and not config.task.searches:
            flag = next(iter(given)).replace("_", "-")
            raise UsageError(f"--{flag} is an option of a search, and {self.run} does not search: leave it out")
        decoding = dataclasses.replace(config.decoding, **given)
        check.decoding(dataclasses.replace(config, decoding=decoding), flags="--")

    def execute(self) -> None:
        from transformer import api

        search = self.search.overrides()
        model = api.load_predictor(self.run, self.checkpoint, **search)
        made_of = {"run": self.run, "checkpoint": model.checkpoint, "format": self.format, "input": self.input} | search
        self.streams.write(lambda pairs, first: predictions(self, model, pairs, first), made_of)


def predictions(options: Predict, model: Any, pairs: "Iterator[Pair]", first: int) -> Iterator[str]:
    """The lines to write, as many at a time as are predicted together."""
    number = first
    for piece in options.streams.pieces(pairs):
        lines = [line for line, _ in piece]
        found = model.predict(lines, number)
        if options.format == "text":
            yield "".join(prediction.text + "\n" for prediction in found)
        else:
            rows = (
                {"line": n, "source": line, "text": prediction.text} | prediction.fields
                for n, (line, prediction) in enumerate(zip(lines, found, strict=True), number)
            )
            yield "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        number += len(piece)
