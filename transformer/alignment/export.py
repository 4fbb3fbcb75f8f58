"""A corpus aligned by the attention of a model: links, full matrices, pictures and a page, written into a folder."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from transformer.alignment import draw, formats
from transformer.alignment.formats import WRITERS
from transformer.alignment.links import Links, Rule
from transformer.alignment.measure import Gold, Measured
from transformer.alignment.page import write_page
from transformer.alignment.record import Attended
from transformer.alignment.select import all_links
from transformer.alignment.symmetrize import transpose
from transformer.data.corpora.corpus import Corpus
from transformer.plurals import counted
from transformer.storage.files import write_json

log = logging.getLogger(__name__)

CHUNK = 500
"""Pairs held at a time."""


class Attends(Protocol):
    """A model whose attention can be read."""

    def attend(
        self, sources: Sequence[str], targets: Sequence[str] | None = None, first: int = 1
    ) -> list[Attended | None]:
        """All attention weights of each pair, or of each sentence and its translation by the model; `first` is the
        number of the first line, for messages."""


class Aligner(NamedTuple):
    """A model and the rule by which its attention becomes links."""

    model: Attends
    rule: Rule


class Aligned(NamedTuple):
    """Links of every pair, and the first pairs with all their weights; None for a pair that cannot be aligned."""

    links: list[Links | None]
    shown: list[Attended | None]


def align(
    by: Aligner, part: Corpus, folder: Path, about: dict[str, Any], wanted: Sequence[str], show: int, *, own: bool
) -> Aligned:
    """Align every pair; full matrices are written meanwhile.

    Args:
        by: what aligns.
        part: the pairs.
        folder: for the matrices.
        about: what the files say of themselves.
        wanted: names of `formats.WRITERS`; others are ignored.
        show: number of pairs that are returned with their weights.
        own: align the model's own translations instead of the given ones.
    """
    aligned = Aligned([], [])
    with ExitStack() as stack:
        writers = {form: WRITERS[form] for form in wanted if form in WRITERS}
        adders = [stack.enter_context(writer(folder / f"attention.{form}", about)) for form, writer in writers.items()]
        for chunk in _attended(by.model, part, own=own):
            aligned.links.extend(all_links(chunk, by.rule))
            aligned.shown.extend(chunk[: max(0, show - len(aligned.shown))])
            for add in adders:
                for pair in chunk:
                    if pair is not None:
                        add(pair)
    return aligned


def backward(by: Aligner, part: Corpus) -> list[Links | None]:
    """Links by a model of the other direction, with source and target exchanged."""
    other = Corpus(part.targets, part.sources, None, part.name)
    return transpose(links for chunk in _attended(by.model, other, own=False) for links in all_links(chunk, by.rule))


def write(
    folder: Path,
    about: dict[str, Any],
    aligned: Aligned,
    rule: Rule,
    gold: Sequence[Gold | None] | None,
    wanted: Sequence[str],
) -> None:
    """Write links, pictures, the page, and what all of it is made from. `wanted` names them: pharaoh, page, png."""
    write_json(folder / "about.json", about)
    if "pharaoh" in wanted:
        lines = "".join(formats.pharaoh(links or frozenset()) + "\n" for links in aligned.links)
        (folder / "links.pharaoh").write_text(lines, encoding="utf-8")
    examples = [pair for pair in aligned.shown if pair is not None]
    pictures = [form for form in ("page", "png") if form in wanted]
    if pictures and not examples:
        first = counted(len(aligned.shown), "pair")
        log.warning("no %s: the first %s cannot be aligned (empty or too long)", " and no ".join(pictures), first)
        return
    if "page" in wanted:
        write_page(folder / "attention.html", about, examples)
    if "png" in wanted:
        _draw(folder, aligned.shown, rule, gold)


def show(measured: Measured, origin: str) -> str:
    """As a line for the terminal, with the origin of the links that were measured against."""
    if not measured.sentences:
        return f"no error rate: none of {counted(measured.left_out, 'pair')} was aligned and has links"
    interval = ""
    if measured.interval is not None:
        interval = f" [{measured.interval[0]:.3f}, {measured.interval[1]:.3f}]"
    return (
        f"AER {measured.aer:.3f}{interval}   precision {measured.precision:.3f}   "
        f"recall {measured.recall:.3f}   ({_pairs(measured)}, against {origin})"
    )


def _pairs(measured: Measured) -> str:
    """How many pairs were measured, of how many."""
    if not measured.left_out:
        return counted(measured.sentences, "pair")
    return f"{measured.sentences:,} of {counted(measured.sentences + measured.left_out, 'pair')}"


def _attended(model: Attends, part: Corpus, *, own: bool) -> Iterator[list[Attended | None]]:
    for begin in range(0, len(part.sources), CHUNK):
        targets = None if own else part.targets[begin : begin + CHUNK]
        yield model.attend(part.sources[begin : begin + CHUNK], targets, begin + 1)


def _draw(folder: Path, shown: Sequence[Attended | None], rule: Rule, gold: Sequence[Gold | None] | None) -> None:
    for number, pair in enumerate(shown):
        if pair is not None:
            right = None if gold is None else gold[number]
            circled = None if right is None else right.possible
            draw.heatmap(pair, rule, folder / f"heatmap-{number + 1}.png", circled)
            for kind in ("cross", "encoder", "decoder"):
                if getattr(pair, kind) is not None and pair.matrix(kind).shape[:2] != (1, 1):
                    draw.grid(pair, folder / f"{kind}-{number + 1}.png", kind)
