"""Links that alignments are measured against, every one of them within its pair: gold links, or those of the data."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from transformer.alignment import formats
from transformer.alignment.links import Links
from transformer.alignment.measure import Gold, all_sure
from transformer.data import config
from transformer.data.corpora import corpus
from transformer.data.corpora.alignments import find_misplaced
from transformer.data.corpora.corpus import Corpus
from transformer.data.normal_form import split_words
from transformer.data.tokenizers.tokenizer import Tokenizers
from transformer.errors import TransformerError
from transformer.plurals import counted

log = logging.getLogger(__name__)

OF_THE_GRAMMAR = "the grammar's gold links"
OF_THE_DATA = "the links of the data (--data.alignments, an aligner's output)"


class Reference(NamedTuple):
    """Links of every pair, and their origin."""

    links: list[Gold | None]
    """None for a pair whose links name words beyond its sentences: it is left out."""
    origin: str
    """Such as "the gold links of FILE"."""

    @property
    def label(self) -> str:
        """The label of a link in pictures."""
        return "link of the data" if self.origin == OF_THE_DATA else "gold link"


def read(path: Path, first_word: int, part: Corpus, tokenizers: Tokenizers) -> Reference:
    """Gold links of each pair.

    Args:
        path: a line per pair, as `formats.read_gold` reads it.
        first_word: number of a sentence's first word in the file, 0 or 1.
        part: the pairs.
        tokenizers: they decide what a word is.

    Raises:
        TransformerError: another number of lines, or a link outside its pair.
    """
    gold = formats.read_gold(path, first_word)
    if len(gold) != len(part.sources):
        raise TransformerError(
            f"{path} has {counted(len(gold), 'line')} for {counted(len(part.sources), 'pair')}: give a line for each"
        )
    texts = zip(part.sources, part.targets, strict=True)
    for number, (counts, links, pair) in enumerate(zip(_words(part, tokenizers), gold, texts, strict=True), 1):
        written = tuple(len(split_words(text)) for text in pair)
        if links.possible and written != counts:
            raise TransformerError(
                f"{path}, line {number}: the pair has {written[0]} and {written[1]} words, and {counts[0]} and "
                f"{counts[1]} in the run's normal form (--data.filter.normalize={tokenizers.source.form}): number the "
                "words of the latter"
            )
        for source, target in sorted(links.possible):
            if source >= counts[0] or target >= counts[1]:
                raise TransformerError(
                    f"{path}, line {number}: {source + first_word}-{target + first_word} is outside a pair of "
                    f"{counts[0]} and {counts[1]} words, counted from {first_word}: is --first-word "
                    f"{1 - first_word} meant?"
                )
    return Reference([*gold], f"the gold links of {path}")


def of_data(folder: Path, part: Corpus, data: config.Data, tokenizers: Tokenizers) -> Reference | None:
    """The links that come with a run's own set: the grammar's, or those that an aligner made; None without.

    Args:
        folder: of the run's data, for messages.
        part: the set.
        data: the settings that it was made from.
        tokenizers: they decide what a word is.

    Raises:
        TransformerError: most links name words that do not exist.
    """
    if part.alignments is None:
        return None
    links: list[Gold | None] = [*all_sure(part.alignments)]
    if data.source == "grammar":
        return Reference(links, OF_THE_GRAMMAR)
    path = folder / f"{part.name}.align"
    found = find_misplaced(zip(part.alignments, _words(part, tokenizers), strict=True))
    found.refuse(path, "train the run again with --data.first-word 1")
    if found.seems_shifted and data.first_word is None:
        log.warning(
            "%s: no link names word 0: if the words of --data.alignments=%s count from 1, train the run again with "
            "--data.first-word 1",
            path,
            data.alignments,
        )
    if found.outside:
        log.warning("%s: %s: left out", path, found.message)
    for position in found.outside:
        links[position] = None
    return Reference(links, OF_THE_DATA)


def reverse(reference: Reference) -> Reference:
    """The links of pairs whose sides are exchanged."""

    def exchanged(links: Links) -> Links:
        return frozenset((t, s) for s, t in links)

    links = [None if gold is None else Gold(exchanged(gold.sure), exchanged(gold.possible)) for gold in reference.links]
    return Reference(links, reference.origin)


def read_own(folder: Path, name: str, data: config.Data, tokenizers: Tokenizers) -> tuple[Corpus, Reference] | None:
    """A set of a run and the links that come with it, as `of_data`; None for a set without links."""
    if not (folder / f"{name}.align").is_file():
        return None
    part = corpus.read(folder, name, data.languages)
    reference = of_data(folder, part, data, tokenizers)
    return None if reference is None else (part, reference)


def _words(part: Corpus, tokenizers: Tokenizers) -> Iterator[tuple[int, int]]:
    """The numbers of words of both sides of each pair."""
    for source, target in zip(part.sources, part.targets, strict=True):
        yield len(tokenizers.source.split_words(source)), len(tokenizers.target.split_words(target))
