"""Commands that show what a trained run looks at."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from transformer.errors import UsageError


@dataclass(frozen=True)
class Align:
    """Align words by the attention: links, full matrices, pictures, a page, and the error rate against gold links.

    Of the run's own test set, of other pairs (--source, --target), or of sentences and the model's own translations
    (--translate).
    """

    run: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RUN")]
    """Directory of the run."""
    split: Literal["test", "validation", "unseen"] = "test"
    """Which of the run's own sets."""
    source: str = ""
    """A source file (with --target or --translate) in place of the run's own sets."""
    target: str = ""
    """Its translations."""
    translate: bool = False
    """Align what the model itself writes."""
    layer: int | None = None
    """Layer of the attention, from 0; the default is the mean of all."""
    head: int | None = None
    """Its head, from 0; the default is the mean of all."""
    best: bool = False
    """Take the layer, the head and (where --threshold is not given) the threshold with the lowest error rate on the
    run's validation set, which must have gold links."""
    shift: int = 0
    """Take for a token what was looked at so many steps after it was written."""
    threshold: float | None = None
    """Link all words with at least this weight; the default is the one with the most, or what --best finds."""
    gold: str = ""
    """Gold links, a line a pair: 1-2 is sure, 1p2 possible. The grammar's sets bring theirs."""
    first_word: Literal[0, 1] | None = None
    """--gold: the number of a sentence's first word there."""
    reverse: str = ""
    """A run of the other direction, whose links are combined with these."""
    symmetrize: Literal["intersection", "union", "grow-diag-final-and"] | None = None
    """--reverse: how; the default is grow-diag-final-and."""
    reverse_checkpoint: str = "auto"
    """--reverse: which of its checkpoints."""
    output: str = ""
    """An empty or new folder; the default is report/align-SET in the run."""
    formats: tuple[Literal["pharaoh", "npz", "json", "page", "png"], ...] = ("pharaoh", "page")
    """What to write: links; full matrices; a page to look at; pictures."""
    show: int = 8
    """Pairs on the page and in pictures: the first so many."""
    checkpoint: str = "auto"
    """best, last, average, or a step; auto is the average where there is one, otherwise the best."""

    def __call__(self) -> None:
        from transformer.alignment.links import Rule
        from transformer.alignment.run import align
        from transformer.alignment.task import Task

        if (bool(self.source) != bool(self.target)) if not self.translate else bool(self.target):
            raise UsageError("--source goes with --target, or with --translate alone")
        align(
            Task(
                run=Path(self.run),
                split=self.split,
                files=(Path(self.source), Path(self.target)) if self.source else None,
                own=self.translate,
                rule=Rule(self.layer, self.head, self.threshold, self.shift),
                best=self.best,
                gold=Path(self.gold) if self.gold else None,
                first_word=self.first_word,
                reverse=Path(self.reverse) if self.reverse else None,
                symmetrize=self.symmetrize,
                reverse_checkpoint=self.reverse_checkpoint,
                output=Path(self.output) if self.output else None,
                formats=self.formats,
                show=self.show,
                checkpoint=self.checkpoint,
            )
        )


@dataclass(frozen=True)
class Explain:
    """Self-attention step by step, on one sentence of a trained Transformer.

    Embedding, place, query, key, value, scores, scaling, mask, softmax, context.
    """

    run: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RUN")]
    """Directory of the run."""
    sentence: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="SENTENCE")]
    """In the source language."""
    layer: int = 0
    """From 0."""
    heads: tuple[int, ...] = ()
    """From 0; shown one after the other. The default is the first two."""
    token: int | None = None
    """The token whose way is followed, from 0; the default is the one in the middle."""
    decoder: bool = False
    """The decoder's masked self-attention over the model's own translation, instead of the encoder's."""
    page: str = ""
    """A new HTML file with all of it to click through: every head, token and matrix."""
    checkpoint: str = "auto"
    """best, last, average, or a step; auto is the average where there is one, otherwise the best."""

    def __call__(self) -> None:
        from transformer.explain.run import Task, explain

        explain(
            Task(
                run=Path(self.run),
                sentence=self.sentence,
                layer=self.layer,
                heads=self.heads,
                token=self.token,
                decoder=self.decoder,
                page=Path(self.page) if self.page else None,
                checkpoint=self.checkpoint,
            )
        )
