"""A corpus aligned by the attention of a model: links, full matrices, pictures and a page, written into a folder."""

import dataclasses
import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from tqdm import tqdm

from transformer.alignment import formats
from transformer.alignment.formats import WRITERS
from transformer.alignment.gold import Reference
from transformer.alignment.links import Links, Rule
from transformer.alignment.measure import Measured
from transformer.alignment.page import write_page
from transformer.alignment.record import Attended
from transformer.alignment.select import all_links
from transformer.alignment.symmetrize import symmetrize, transpose
from transformer.data.corpora.corpus import Corpus
from transformer.decoding.remarks import Remarks, collected
from transformer.plurals import counted
from transformer.storage.files import write_json

log = logging.getLogger(__name__)

CHUNK = 500
"""Pairs whose matrices are held in memory at once."""
LINKED = 4000
"""Pairs that are linked at once, without holding matrices."""


class Attends(Protocol):
    """A model whose attention can be read."""

    def attend(
        self, sources: Sequence[str], targets: Sequence[str] | None = None, first: int = 1, by: Sequence[str] = ()
    ) -> list[Attended | None]:
        """All attention weights of each pair, or of each sentence and its translation by the model, and read-outs `by`
        name; `first` is the number of the first line, for messages."""

    def links(
        self, sources: Sequence[str], targets: Sequence[str] | None = None, rule: Rule | None = None, first: int = 1
    ) -> list[Links | None]:
        """The links of each pair under a rule, without any matrices."""


class Aligner(NamedTuple):
    """A model and the rule by which its attention becomes links."""

    model: Attends
    rule: Rule


class Reverse(NamedTuple):
    """The other direction, and the method of `symmetrize.SYMMETRIZATIONS` that combines both."""

    by: Aligner
    how: str


class Aligned(NamedTuple):
    """What is kept of aligned pairs; for a large corpus little besides the written files."""

    pairs: int
    left_out: int
    """Pairs that cannot be aligned."""
    links: list[Links | None]
    """For every pair, or None for one that cannot be aligned; empty unless requested."""
    shown: list[Attended | None]
    """The first pairs with all their weights."""


def align(
    by: Aligner,
    part: Corpus,
    folder: Path,
    about: dict[str, Any],
    wanted: Sequence[str],
    show: int,
    readouts: Sequence[str] = (),
    *,
    own: bool = False,
    reverse: Reverse | None = None,
    keep: bool = True,
) -> Aligned:
    """Align every pair. Links and full matrices are written on the fly, so the corpus may have any size, and matrices
    are computed only if they are written or shown.

    Args:
        by: what aligns.
        part: the pairs.
        folder: for links and matrices.
        about: metadata of the files.
        wanted: pharaoh, and names of `formats.WRITERS`; others are ignored.
        show: number of pairs that are returned with their weights.
        readouts: computed, written and returned in addition to the weights and the rule's own.
        own: align the model's own translations instead of the given ones.
        reverse: combined with the links of `by`.
        keep: return the links of all pairs.
    """
    aligned, left_out, other, remarks = Aligned(0, 0, [], []), 0, _exchanged(part), (Remarks(), Remarks())
    with ExitStack() as stack:
        writers = {form: WRITERS[form] for form in wanted if form in WRITERS}
        adders = [stack.enter_context(writer(folder / f"attention.{form}", about)) for form, writer in writers.items()]
        lines = None
        if "pharaoh" in wanted:
            lines = stack.enter_context((folder / "links.pharaoh").open("w", encoding="utf-8", newline="\n"))
        count = len(part.sources)
        bar = stack.enter_context(tqdm(total=count, desc="align", unit="pair", delay=2, leave=False, disable=None))
        for chunk in _chunks(count, count if adders else show):
            with collected(remarks[0]):
                pairs, links = _forward(by, part, chunk, readouts, own=own, matrices=bool(adders) or chunk.start < show)
            if reverse is not None:
                with collected(remarks[1]):
                    links = symmetrize(reverse.how, links, _backward(reverse.by, other, chunk))
            aligned.shown.extend(pairs[: max(0, show - len(aligned.shown))])
            left_out += sum(each is None for each in links)
            if keep:
                aligned.links.extend(links)
            if lines is not None:
                lines.writelines(formats.pharaoh(each or frozenset()) + "\n" for each in links)
            for add in adders:
                for pair in pairs:
                    if pair is not None:
                        add(pair)
            bar.update(len(links))
    for remark in remarks:
        remark.report()
    return aligned._replace(pairs=count, left_out=left_out)


def _chunks(count: int, matrices: int) -> Iterator[range]:
    """Numbers of pairs: the first `matrices` of them in small chunks, all others in large ones."""
    begin = 0
    while begin < count:
        end = min(begin + CHUNK, matrices) if begin < matrices else begin + LINKED
        yield range(begin, min(end, count))
        begin = end


def _forward(
    by: Aligner, part: Corpus, chunk: range, readouts: Sequence[str], *, own: bool, matrices: bool
) -> tuple[list[Attended | None], list[Links | None]]:
    """The pairs of a chunk with their matrices, if they are wanted, and their links."""
    place = slice(chunk.start, chunk.stop)
    sources, targets = part.sources[place], None if own else part.targets[place]
    if not matrices:
        return [], by.model.links(sources, targets, by.rule, chunk.start + 1)
    pairs = by.model.attend(sources, targets, chunk.start + 1, by=(*readouts, by.rule.by))
    return pairs, all_links(pairs, by.rule)


def _exchanged(part: Corpus) -> Corpus:
    return Corpus(part.targets, part.sources, None, part.name)


def _backward(by: Aligner, other: Corpus, chunk: range) -> list[Links | None]:
    """Links of a chunk by a model of the other direction, with source and target exchanged."""
    place = slice(chunk.start, chunk.stop)
    return transpose(by.model.links(other.sources[place], other.targets[place], by.rule, chunk.start + 1))


def write(
    folder: Path,
    about: dict[str, Any],
    aligned: Aligned,
    rule: Rule,
    reference: Reference | None,
    wanted: Sequence[str],
    pictures: int | None = None,
) -> None:
    """Write pictures, the page, and the data that they are made from.

    Args:
        folder: to write into.
        about: metadata of the files.
        aligned: with the pairs that are shown.
        rule: by which weights became links.
        reference: links that are circled.
        wanted: page, png.
        pictures: of how many of the pairs that are shown; all by default.
    """
    write_json(folder / "about.json", about)
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
    """A line for the terminal, with the origin of the reference links."""
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
    """How many of the pairs were measured."""
    if not measured.left_out:
        return counted(measured.sentences, "pair")
    return f"{measured.sentences:,} of {counted(measured.sentences + measured.left_out, 'pair')}"


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
