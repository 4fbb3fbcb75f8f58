"""`transformer translate` and `transformer score`: lines in, lines out, in order and in pieces.

Memory does not grow with the input, and what was written stays: an interrupted output goes on where it stopped.
"""

import dataclasses
import hashlib
import json
import logging
import os
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from transformer import api
from transformer.alignment import formats
from transformer.alignment.links import Rule, align
from transformer.alignment.record import Attended, Side
from transformer.api import Trained
from transformer.data.corpora.files import read_parallel, stream_lines
from transformer.decoding.translator import Hypothesis
from transformer.errors import TransformerError, UsageError
from transformer.storage.files import write_json

log = logging.getLogger(__name__)

FIRST, PIECE, SOME = 16, 4_096, 512
"""Lines translated at a time: few at first, so that some come soon, then more, so that batches stay full; not more than
SOME where all that they looked at is kept until they are written."""

Pair: TypeAlias = tuple[str, str | None]
"""A line, and what its translation begins with."""


@dataclass(frozen=True)
class Task:
    """What `translate` is asked for."""

    model: Trained
    input: str
    """A file; - is standard input."""
    output: str
    """A file; - is standard output."""
    search: dict[str, Any]
    """Overrides of `config.Decoding`."""
    prefix: str = ""
    """A file: what each translation begins with."""
    form: Literal["text", "json"] = "text"
    resume: bool = False


def translate(task: Task) -> None:
    """Translate line by line. A file appears under its name when it is whole; until then it is NAME.part."""
    if task.resume and "-" in (task.input, task.output):
        raise UsageError("--resume goes on with a file: give --input and --output")
    target = None if task.output == "-" else Path(task.output)
    if target is not None and target.exists():
        raise UsageError(f"--output={target} exists: give another name, or remove it")
    pairs = _pairs(task)
    if target is None:
        for text in _translate(task, task.model.load(), pairs, 1):
            sys.stdout.write(text)
            sys.stdout.flush()
        return
    part = target.with_name(target.name + ".part")
    begun = part.exists() and part.stat().st_size > 0
    if begun and not task.resume:
        raise UsageError(f"{part} is of a translation that was interrupted: go on with --resume, or remove it")
    model = task.model.load()
    progress = Progress(target.with_name(target.name + ".part.json"), _made_of(task, model))
    done = _go_on(part, progress, task) if begun else 0
    progress.skip(pairs, done)
    if progress.lines < done:
        raise UsageError(f"{part} has {done} lines, more than there are to translate: it is of another input")
    progress.write()
    with part.open("a", encoding="utf-8") as stream:
        for text in _translate(task, model, progress.watch(pairs), done + 1):
            stream.write(text)
            stream.flush()
            progress.write()
    part.rename(target)
    progress.path.unlink()


class Progress:
    """NAME.part.json: what an unfinished output is made of, and a digest of the lines that were read for it."""

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
        """Read pairs that are done already, as many of them as there are."""
        deque(self.watch(islice(pairs, count)), maxlen=0)

    @property
    def read(self) -> dict[str, Any]:
        return {"lines": self.lines, "read": self._digest.hexdigest()}

    def write(self) -> None:
        write_json(self.path, self.made_of | self.read)


def _go_on(part: Path, progress: Progress, task: Task) -> int:
    """Lines that an interrupted translation has; what it has of one more is cut off.

    Raises UsageError when it was made of anything else.
    """
    try:
        old = json.loads(progress.path.read_text(encoding="utf-8"))
        before = {name: old.pop(name) for name in progress.read}
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        raise UsageError(
            f"{progress.path} is missing or damaged, so that {part} cannot be gone on with: remove the latter"
        ) from None
    differ = [name for name, value in progress.made_of.items() if old.get(name) != value]
    if differ:
        raise UsageError(f"{part} was begun with another {' and '.join(differ)}: give the same, or remove it")
    again = Progress(progress.path, {})
    again.skip(_pairs(task), before["lines"])
    whole = lines = 0
    with part.open("rb") as stream:
        for line in stream:
            if line.endswith(b"\n"):
                whole, lines = whole + len(line), lines + 1
    if again.read != before:
        raise UsageError(f"{part} was begun with other lines: give the same input and prefixes, or remove it")
    os.truncate(part, whole)
    log.info("going on after line %d", lines)
    return lines


def _made_of(task: Task, model: api.TrainedModel) -> dict[str, Any]:
    """What must be the same to go on, as JSON gives it back."""
    settings = dataclasses.replace(model.settings.decoding, **task.search)
    lexicon = hashlib.sha256(Path(settings.lexicon).read_bytes()).hexdigest() if settings.lexicon else ""
    found: dict[str, Any] = json.loads(
        json.dumps(
            {
                "model": dataclasses.asdict(task.model),
                "checkpoint": model.checkpoint,
                "search": dataclasses.asdict(settings),
                "lexicon": lexicon,
                "format": task.form,
                "input": task.input,
                "prefix": task.prefix,
            }
        )
    )
    return found


def _pairs(task: Task) -> Iterator[Pair]:
    """Each line with what its translation begins with."""
    sources = stream_lines(None if task.input == "-" else Path(task.input))
    if not task.prefix:
        yield from ((source, None) for source in sources)
        return
    for number, pair in enumerate(zip_longest(sources, stream_lines(Path(task.prefix))), 1):
        if None in pair:
            file = task.prefix if pair[1] is None else task.input
            raise TransformerError(f"{file} ends before line {number}: there must be as many prefixes as lines")
        yield pair


def _translate(task: Task, model: api.TrainedModel, pairs: Iterator[Pair], first: int) -> Iterator[str]:
    """The lines to write, as many at a time as are translated together."""
    linked = bool(task.search.get("attention"))
    most = SOME if linked else PIECE
    typed = task.input == "-" and sys.stdin.isatty()
    size = 1 if typed else FIRST
    began, start = time.perf_counter(), first
    while piece := list(islice(pairs, size)):
        sources = [source for source, _ in piece]
        begun = [prefix or "" for _, prefix in piece] if task.prefix else None
        found = model.hypotheses(sources, first, begun, **task.search)
        yield "".join(
            (hypotheses[0].text if task.form == "text" else _as_json(model, number, line, hypotheses, linked=linked))
            + "\n"
            for number, (line, hypotheses) in enumerate(zip(sources, found, strict=True), first)
        )
        first += len(piece)
        size = 1 if typed else min(2 * size, most)
    seconds, engine = time.perf_counter() - began, model.engine
    log.info("%d lines in %.1f s; %d programs compiled (%.1f s)",
             first - start, seconds, engine.compiled, engine.seconds)  # fmt: skip


def _as_json(model: api.TrainedModel, number: int, line: str, hypotheses: Sequence[Hypothesis], *, linked: bool) -> str:
    rows = []
    for one in hypotheses:
        row: dict[str, Any] = {"text": one.text, "score": round(one.score, 6), "logp": round(one.logp, 6)}
        if linked:
            row["links"] = _links(model, line, one)
        rows.append(row)
    return json.dumps({"line": number, "source": line, "hypotheses": rows}, ensure_ascii=False)


def _links(model: api.TrainedModel, line: str, found: Hypothesis) -> str | None:
    """Words aligned by what was looked at while searching, source first, 0-indexed; None where the source was cut."""
    read = model.tokenizers.source.encode(line)
    if found.attention is None or not found.tokens:
        return ""
    if len(read) + 1 != found.attention.shape[1]:
        return None
    sides = (
        Side.of(read, line, model.tokenizers.source),
        Side.of(found.tokens, found.text, model.tokenizers.target),
    )
    _, links = align(Attended(*sides, found.attention[None, None]), Rule())
    return formats.pharaoh(links)


@dataclass(frozen=True)
class Scoring:
    """What `score` is asked for."""

    model: Trained
    source: Path
    target: Path
    against: Path | None = None
    """Other translations of the same sentences."""
    output: str = "-"


def score(task: Scoring) -> None:
    """Log-probabilities of given translations as JSON lines, and a summary on standard error."""
    out = None if task.output == "-" else Path(task.output)
    if out is not None and out.exists():
        raise UsageError(f"--output={out} exists: give another name, or remove it")
    files = [path for path in (task.source, task.target, task.against) if path is not None]
    sides = read_parallel(*files)
    model = task.model.load()
    scored = [model.score(sides[0], side) for side in sides[1:]]
    rows = []
    for number, (source, target) in enumerate(zip(sides[0], sides[1], strict=True)):
        row: dict[str, Any] = {"line": number + 1, "source": source}
        row |= _scores(model, target, scored[0].logp[number], scored[0].each[number])
        if len(scored) == 2:
            row["against"] = _scores(model, sides[2][number], scored[1].logp[number], scored[1].each[number])
            row["prefers"] = _prefers(*(float(one.logp[number]) for one in scored))
        rows.append(json.dumps(row, ensure_ascii=False) + "\n")
    if out is None:
        sys.stdout.writelines(rows)
    else:
        out.write_text("".join(rows), encoding="utf-8")
    for path, found in zip(files[1:], scored, strict=True):
        count = int(np.isfinite(found.logp).sum())
        if count:
            log.info("%s: %d pairs, perplexity %.3f (a token of this tokenizer)", path, count, np.exp(found.loss))
        else:
            log.warning("%s: no pair has a score", path)
    if len(scored) == 2:
        both = np.isfinite(scored[0].logp) & np.isfinite(scored[1].logp)
        won = scored[0].logp[both] > scored[1].logp[both]
        log.info("prefers %s in %d of %d: %.1f%%", files[1], won.sum(), len(won), 100 * won.mean() if len(won) else 0)


def _scores(model: api.TrainedModel, text: str, logp: float, each: np.ndarray) -> dict[str, Any]:
    if not np.isfinite(logp):
        return {"target": text, "logp": None, "tokens": None}
    pieces = [*model.tokenizers.target.pieces(model.tokenizers.target.encode(text)), "</s>"]
    tokens = [[piece, round(float(value), 6)] for piece, value in zip(pieces, each, strict=True)]
    return {"target": text, "logp": round(float(logp), 6), "tokens": tokens}


def _prefers(target: float, against: float) -> str | None:
    if not np.isfinite(target + against):
        return None
    return "target" if target > against else "against" if against > target else "neither"
