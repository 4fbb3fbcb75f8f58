"""`transformer translate`: lines to their translations, as text or as JSON."""

import dataclasses
import hashlib
import json
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from transformer.commands.options import SEARCH_MEMORY, Command, Model, RunFolder, Search
from transformer.errors import UsageError
from transformer.plurals import counted

if TYPE_CHECKING:
    from transformer.api import TrainedModel
    from transformer.commands.stream import Pair, Streams
    from transformer.decoding.translator import Hypothesis

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Translate(Command):
    """Translate text: one line out for each line in, in order; empty lines stay empty.

    Reads standard input, or --input; writes standard output, or --output.
    """

    memory = SEARCH_MEMORY
    run: RunFolder
    input: str = "-"
    """A file, plain or .gz; - is standard input."""
    output: str = "-"
    """A new file, a pipe or a device; - is standard output."""
    format: Literal["text", "json"] = "text"
    """Format of the output. text: the best translation. json: one object per line, with all requested translations,
    their scores, and with --alignments their links."""
    alignments: bool = False
    """Add the source word with the most attention for each word, as "0-0 1-2", source first; for --format json. Words
    are separated by plain spaces in the translation and in the source, which is then given in the run's normal form."""
    prefix: str = ""
    """File of the words that each translation begins with, one prefix per line; an empty line constrains nothing. An
    empty source line stays empty, and its prefix is reported as not used."""
    engine: Literal["native", "ctranslate2"] = "native"
    """What searches. ctranslate2: the package of this name, faster on CPUs; the run is exported into its own folder
    first, and again when the checkpoint changes."""
    quantization: Literal["float32", "float16", "int8", "int16"] = "float32"
    """Type of the matrices; for --engine ctranslate2."""
    resume: bool = False
    """Resume an --output that was interrupted, exactly where it stopped; start it if there is none."""
    model: Annotated[Model, tyro.conf.arg(name="")] = field(default_factory=Model)
    search: Annotated[Search, tyro.conf.arg(name="")] = field(default_factory=Search)

    @property
    def streams(self) -> "Streams":
        from transformer.commands.stream import Streams

        return Streams(self.input, self.output, self.prefix)

    @property
    def overrides(self) -> dict[str, Any]:
        """The settings of the search that differ from the run's own."""
        return self.search.overrides() | ({"attention": True} if self.alignments else {})

    def check(self) -> None:
        search = self.overrides
        if self.format == "text":
            if self.alignments:
                raise UsageError("--alignments needs --format json")
            if max(search.get("n_best", 1), search.get("samples", 1)) > 1 and search.get("mbr", "none") == "none":
                raise UsageError("several translations per line need --format json; or give --mbr to choose one")
        self.streams.check(resume=self.resume)
        self.search.check(self.run, alone=not self.model.ensemble)
        if self.engine == "native" and self.quantization != "float32":
            raise UsageError(f"--quantization={self.quantization} needs --engine ctranslate2")
        if self.engine == "ctranslate2" and self.model.ensemble:
            raise UsageError("--ensemble needs --engine native")

    def execute(self) -> None:
        model = self.model.load(self.run)
        if self.engine == "ctranslate2":
            from transformer.interop import ctranslate2

            ctranslate2.check_search(dataclasses.replace(model.settings.decoding, **self.overrides))
            model = ctranslate2.searching(model, self.quantization)
        self.streams.write(lambda pairs, first: translations(self, model, pairs, first), _made_of(self, model))


def _made_of(options: Translate, model: "TrainedModel") -> dict[str, Any]:
    """What must be equal to resume a translation."""
    settings = dataclasses.replace(model.settings.decoding, **options.overrides)
    return {
        "model": options.model.describe(options.run),
        "checkpoint": model.checkpoint,
        "search": dataclasses.asdict(settings),
        "lexicon": hashlib.sha256(Path(settings.lexicon).read_bytes()).hexdigest() if settings.lexicon else "",
        "format": options.format,
        "input": options.input,
        "prefix": options.prefix,
        **({} if options.engine == "native" else {"engine": [options.engine, options.quantization]}),
    }


def translations(options: Translate, model: "TrainedModel", pairs: "Iterator[Pair]", first: int) -> Iterator[str]:
    """The lines to write, as many at a time as are translated together."""
    from transformer.commands import stream

    began, number = time.perf_counter(), first
    for piece in options.streams.pieces(pairs, stream.SOME if options.alignments else 0):
        sources = [source for source, _ in piece]
        prefixes = [prefix or "" for _, prefix in piece] if options.prefix else None
        found = model.hypotheses(sources, number, prefixes, **options.overrides)
        yield "".join(
            (best[0].text if options.format == "text" else _as_json(model, n, line, best, links=options.alignments))
            + "\n"
            for n, (line, best) in enumerate(zip(sources, found, strict=True), number)
        )
        number += len(piece)
    seconds, engine = time.perf_counter() - began, model.engine
    lines, programs = counted(number - first, "line"), counted(engine.programs.compiled, "program")
    log.info("%s in %.1f s; %s compiled (%.1f s)", lines, seconds, programs, engine.programs.seconds)


def _as_json(model: "TrainedModel", number: int, line: str, hypotheses: "Sequence[Hypothesis]", *, links: bool) -> str:
    rows = []
    for hypothesis in hypotheses:
        row: dict[str, Any] = {
            "text": hypothesis.text,
            "score": round(hypothesis.score, 6),
            "logp": round(hypothesis.logp, 6),
        }
        if links:
            row["links"] = _links(model, line, hypothesis)
        rows.append(row)
    # Links number the words of the text as the model reads it.
    source = model.tokenizers.source.normal(line) if links else line
    return json.dumps({"line": number, "source": source, "hypotheses": rows}, ensure_ascii=False)


def _links(model: "TrainedModel", line: str, hypothesis: "Hypothesis") -> str | None:
    """Words aligned by the attention of the search, source first, 0-indexed; None if the source was truncated."""
    from transformer.alignment import formats
    from transformer.alignment.links import Rule, align
    from transformer.alignment.record import Attended, Side

    source = model.tokenizers.source.segment(line)
    if hypothesis.attention is None or not hypothesis.tokens:
        return ""
    if len(source.tokens) + 1 != hypothesis.attention.shape[1]:
        return None
    sides = (
        Side.of(source, model.tokenizers.source),
        Side.of(hypothesis.sentence(model.tokenizers.target), model.tokenizers.target),
    )
    _, links = align(Attended(*sides, hypothesis.attention[None, None]), Rule())
    return formats.pharaoh(links)
