"""`transformer translate` and `transformer score`: lines in, lines out, in order and in pieces.

Memory does not grow with the input, and what was written stays: an interrupted output goes on where it stopped.
"""

import json
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TextIO

import numpy as np

from transformer import api, rundir
from transformer.alignment import formats
from transformer.alignment.record import Attended, Side
from transformer.alignment.words import Rule, align
from transformer.api import Trained
from transformer.data import corpus
from transformer.decoding.translate import Hypothesis
from transformer.errors import TransformerError, UsageError

log = logging.getLogger(__name__)

FIRST, PIECE = 256, 4_096
"""Lines translated at a time: few at first, so that some come soon, then more, so that batches stay full."""


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
    source = corpus.stream_lines(None if task.input == "-" else Path(task.input))
    prefixes = corpus.stream_lines(Path(task.prefix)) if task.prefix else None
    if target is None:
        _translate(task, task.model.load(), source, prefixes, 1, sys.stdout)
        return
    part, about = target.with_name(target.name + ".part"), target.with_name(target.name + ".part.json")
    done = 0
    if part.exists() and part.stat().st_size:
        if not task.resume:
            raise UsageError(f"{part} is of a translation that was interrupted: go on with --resume, or remove it")
        done = _go_on(part, about, task)
    else:
        rundir.write_json(about, _plain(task))
    model = task.model.load()
    for lines in filter(None, (source, prefixes)):
        if sum(1 for _ in islice(lines, done)) < done:
            raise UsageError(f"{part} has {done} lines, more than there are to translate: it is of another input")
    with part.open("a", encoding="utf-8") as stream:
        _translate(task, model, source, prefixes, done + 1, stream)
    part.rename(target)
    about.unlink()


def _go_on(part: Path, about: Path, task: Task) -> int:
    """Lines that an interrupted translation has; what it has of one more is cut off."""
    try:
        old = json.loads(about.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise UsageError(f"{about} is missing or damaged, so that {part} cannot be gone on with: remove it") from None
    now = _plain(task)
    differ = [name for name in now if old.get(name) != now[name]]
    if differ:
        raise UsageError(f"{part} was begun with another {' and '.join(differ)}: give the same, or remove it")
    whole = lines = 0
    with part.open("rb") as stream:
        for line in stream:
            if line.endswith(b"\n"):
                whole, lines = whole + len(line), lines + 1
    os.truncate(part, whole)
    log.info("going on after line %d", lines)
    return lines


def _plain(task: Task) -> dict[str, Any]:
    """What must be the same to go on, as JSON gives it back."""
    values = asdict(task)
    del values["resume"], values["output"]
    found: dict[str, Any] = json.loads(json.dumps(values))
    return found


def _translate(
    task: Task,
    model: api.Translation,
    sources: Iterator[str],
    prefixes: Iterator[str] | None,
    first: int,
    stream: TextIO,
) -> None:
    size = FIRST
    while piece := list(islice(sources, size)):
        begun = None if prefixes is None else list(islice(prefixes, len(piece)))
        if begun is not None and len(begun) < len(piece):
            raise TransformerError(
                f"{task.prefix} has {first - 1 + len(begun)} lines, fewer than there are to translate"
            )
        found = model.hypotheses(piece, first, begun, **task.search)
        for number, (line, hypotheses) in enumerate(zip(piece, found, strict=True), first):
            text = hypotheses[0].text if task.form == "text" else _as_json(model, number, line, hypotheses)
            stream.write(text + "\n")
        stream.flush()
        first, size = first + len(piece), min(2 * size, PIECE)


def _as_json(model: api.Translation, number: int, line: str, hypotheses: Sequence[Hypothesis]) -> str:
    rows = []
    for one in hypotheses:
        row: dict[str, Any] = {"text": one.text, "score": round(one.score, 6), "logp": round(one.logp, 6)}
        if one.looked is not None:
            row["links"] = _links(model, line, one)
        rows.append(row)
    return json.dumps({"line": number, "source": line, "hypotheses": rows}, ensure_ascii=False)


def _links(model: api.Translation, line: str, found: Hypothesis) -> str:
    """Words aligned by what was looked at while searching, source first, 0-indexed."""
    read = model.tokenizers.source.encode(line)
    if found.looked is None or not found.tokens or len(read) + 1 != found.looked.shape[1]:
        return ""  # an empty translation, or a source that was cut
    sides = (
        Side.of(read, line, model.tokenizers.source),
        Side.of(found.tokens, found.text, model.tokenizers.target),
    )
    _, links = align(Attended(*sides, found.looked[None, None]), Rule())
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
    sides = corpus.read_parallel(*files)
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
        log.info("%s: %d pairs, perplexity %.3f (a token of this tokenizer)", path, count, np.exp(found.loss))
    if len(scored) == 2:
        both = np.isfinite(scored[0].logp) & np.isfinite(scored[1].logp)
        won = scored[0].logp[both] > scored[1].logp[both]
        log.info("prefers %s in %d of %d: %.1f%%", files[1], won.sum(), len(won), 100 * won.mean() if len(won) else 0)


def _scores(model: api.Translation, text: str, logp: float, each: np.ndarray) -> dict[str, Any]:
    if not np.isfinite(logp):
        return {"target": text, "logp": None, "tokens": None}
    pieces = [*model.tokenizers.target.pieces(model.tokenizers.target.encode(text)), "</s>"]
    tokens = [[piece, round(float(value), 6)] for piece, value in zip(pieces, each, strict=True)]
    return {"target": text, "logp": round(float(logp), 6), "tokens": tokens}


def _prefers(target: float, against: float) -> str | None:
    if not np.isfinite(target + against):
        return None
    return "target" if target > against else "against" if against > target else "neither"
