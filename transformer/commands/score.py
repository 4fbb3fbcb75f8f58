"""`transformer score`: log-probabilities of given translations as JSON lines, and a summary on standard error."""

import json
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from transformer.commands.options import (
    Command,
    Model,
    RunFolder,
    is_stream,
    open_stream,
    read_translation,
    refuse_existing,
)
from transformer.plurals import counted
from transformer.storage.files import write_text

if TYPE_CHECKING:
    from transformer.decoding.scoring import SentenceScores

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Score(Command):
    """Score given translations: one JSON object per line, with every token's log-probability in nats.

    With --against, also which of two translations of each sentence the model prefers, and how often it is the first
    (contrastive pairs). Perplexities go to standard error.
    """

    memory = "leave out the longest pairs"
    run: RunFolder
    source: str
    """A file of sources, plain or .gz."""
    target: str
    """A file of their translations."""
    against: str = ""
    """Other translations of the same sources."""
    output: str = "-"
    """A new file, a pipe or a device; - is standard output."""
    model: Annotated[Model, tyro.conf.arg(name="")] = field(default_factory=Model)

    def check(self) -> None:
        refuse_existing("--output", self.output)
        read_translation(self.run)

    def execute(self) -> None:
        from transformer.data.corpora.files import read_parallel

        paths = [Path(path) for path in (self.source, self.target, self.against) if path]
        sides = read_parallel(*paths)
        model = self.model.load(self.run)
        scored = [model.score(sides[0], side) for side in sides[1:]]
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in _rows(sides, scored))
        if is_stream(self.output):
            with open_stream(self.output) as stream:
                stream.write(text)
        else:
            write_text(Path(self.output), text)
        _summarize(paths[1:], scored)


def _rows(sides: list[list[str]], scored: "list[SentenceScores]") -> list[dict[str, Any]]:
    rows = []
    for number, (source, target) in enumerate(zip(sides[0], sides[1], strict=True)):
        row: dict[str, Any] = {"line": number + 1, "source": source}
        row |= _tokens(target, scored[0], number)
        if len(scored) == 2:
            row["against"] = _tokens(sides[2][number], scored[1], number)
            row["prefers"] = _preferred(*(float(scores.logp[number]) for scores in scored))
        rows.append(row)
    return rows


def _tokens(text: str, scores: "SentenceScores", number: int) -> dict[str, Any]:
    import numpy as np

    logp = scores.logp[number]
    if not np.isfinite(logp):
        return {"target": text, "logp": None, "tokens": None}
    both = zip(scores.pieces[number], scores.each[number], strict=True)
    tokens = [[piece, round(float(value), 6)] for piece, value in both]
    return {"target": text, "logp": round(float(logp), 6), "tokens": tokens}


def _preferred(target: float, against: float) -> str | None:
    import numpy as np

    if not np.isfinite(target + against):
        return None
    return "target" if target > against else "against" if against > target else "neither"


def _summarize(paths: list[Path], scored: "list[SentenceScores]") -> None:
    import numpy as np

    for path, scores in zip(paths, scored, strict=True):
        count = int(np.isfinite(scores.logp).sum())
        if count:
            perplexity = np.exp(scores.loss)
            log.info("%s: %s, perplexity %.3f (per token of this tokenizer)", path, counted(count, "pair"), perplexity)
        else:
            log.warning("%s: no pair has a score", path)
    if len(scored) == 2:
        both = np.isfinite(scored[0].logp) & np.isfinite(scored[1].logp)
        won = scored[0].logp[both] > scored[1].logp[both]
        if not len(won):
            log.warning("no pair has both scores: nothing is compared")
            return
        log.info("prefers %s in %d of %d: %.1f%%", paths[0], won.sum(), len(won), 100 * won.mean())
