"""A corpus aligned by the attention of a model: links, full matrices, pictures and a page, written into a folder."""

import dataclasses
import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from transformer.alignment import formats
from transformer.alignment.formats import WRITERS
from transformer.alignment.gold import Reference
from transformer.alignment.links import Links, Rule
from transformer.alignment.measure import Measured
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
        self, sources: Sequence[str], targets: Sequence[str] | None = None, first: int = 1, by: Sequence[str] = ()
    ) -> list[Attended | None]:
        """All attention weights of each pair, or of each sentence and its translation by the model, and read-outs `by`
        name; `first` is the number of the first line, for messages."""


class Aligner(NamedTuple):
    """A model and the rule by which its attention becomes links."""

    model: Attends
    rule: Rule


class Aligned(NamedTuple):
    """Links of every pair, and the first pairs with all their weights; None for a pair that cannot be aligned."""

    links: list[Links | None]
    shown: list[Attended | None]


def align(
    by: Aligner,
    part: Corpus,
    folder: Path,
    about: dict[str, Any],
    wanted: Sequence[str],
    show: int,
    readouts: Sequence[str] = (),
    *,
    own: bool,
) -> Aligned:
    """Align every pair; full matrices are written meanwhile.

    Args:
        by: what aligns.
        part: the pairs.
        folder: for the matrices.
        about: what the files say of themselves.
        wanted: names of `formats.WRITERS`; others are ignored.
        show: number of pairs that are returned with their weights.
        readouts: computed, written and returned besides the weights and the rule's own.
        own: align the model's own translations instead of the given ones.
    """
    aligned = Aligned([], [])
    with ExitStack() as stack:
        writers = {form: WRITERS[form] for form in wanted if form in WRITERS}
        adders = [stack.enter_context(writer(folder / f"attention.{form}", about)) for form, writer in writers.items()]
        for chunk in _attended(by, part, readouts, own=own):
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
    return transpose(links for chunk in _attended(by, other, own=False) for links in all_links(chunk, by.rule))


def write(
    folder: Path,
    about: dict[str, Any],
    aligned: Aligned,
    rule: Rule,
    reference: Reference | None,
    wanted: Sequence[str],
    pictures: int | None = None,
) -> None:
    """Write links, pictures, the page, and what all of it is made from.

    Args:
        folder: to write into.
        about: what the files say of themselves.
        aligned: links of every pair, and the pairs that are shown.
        rule: by which weights became links.
        reference: links that are circled.
        wanted: pharaoh, page, png.
        pictures: of how many of the pairs that are shown; all by default.
    """
    write_json(folder / "about.json", about)
    if "pharaoh" in wanted:
        lines = "".join(formats.pharaoh(links or frozenset()) + "\n" for links in aligned.links)
        (folder / "links.pharaoh").write_text(lines, encoding="utf-8")
    examples = [pair for pair in aligned.shown if pair is not None]
    linked = None if reference is None else reference.links[: len(aligned.shown)]
    circled = [frozenset() if links is None else links.possible for links in linked or [None] * len(aligned.shown)]
    label = "" if reference is None else reference.label
    shown = [form for form in ("page", "png") if form in wanted]
    if shown and not examples:
        first = counted(len(aligned.shown), "pair")
        log.warning("no %s: the first %s cannot be aligned (empty or too long)", " and no ".join(shown), first)
        return
    if "page" in wanted:
        theirs = [links for links, pair in zip(circled, aligned.shown, strict=True) if pair is not None]
        write_page(folder / "attention.html", about, examples, theirs, rule, label)
    if "png" in wanted:
        _draw(folder, aligned.shown[:pictures], rule, circled, label)


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


def _attended(by: Aligner, part: Corpus, readouts: Sequence[str] = (), *, own: bool) -> Iterator[list[Attended | None]]:
    for begin in range(0, len(part.sources), CHUNK):
        targets = None if own else part.targets[begin : begin + CHUNK]
        yield by.model.attend(part.sources[begin : begin + CHUNK], targets, begin + 1, by=(*readouts, by.rule.by))


def _rules(pair: Attended, rule: Rule) -> list[Rule]:
    """A rule for each read-out of a pair: the given one, and the others by the mean of their layers and heads."""
    names = [*(["weights"] if pair.cross is not None else []), *pair.readouts]
    plain = Rule(pieces=rule.pieces, end=rule.end)
    return [rule if name == rule.by else dataclasses.replace(plain, by=name) for name in names]


def _draw(folder: Path, shown: Sequence[Attended | None], rule: Rule, circled: Sequence[Links], label: str) -> None:
    from transformer.alignment import draw  # imports matplotlib

    for number, (pair, links) in enumerate(zip(shown, circled, strict=False), 1):
        if pair is not None:
            draw.heatmap(pair, rule, links, label).save(folder / f"heatmap-{number}.png")
            rules = _rules(pair, rule)
            if len(rules) > 1:
                draw.side_by_side(pair, rules, links, label).save(folder / f"readouts-{number}.png")
            for kind in ("cross", "encoder", "decoder"):
                if getattr(pair, kind) is not None and pair.matrix(kind).shape[:2] != (1, 1):
                    draw.grid(pair, kind).save(folder / f"{kind}-{number}.png")
