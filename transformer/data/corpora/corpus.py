"""Sentence pairs, and the plain-text files that run directories keep of them."""

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from transformer.data.corpora.alignments import Alignment, format_alignment, read_alignments
from transformer.data.corpora.files import find_file, read_parallel
from transformer.errors import TransformerError
from transformer.storage import checksums

log = logging.getLogger(__name__)

CHECKSUMS = "checksums.json"


class Corpus(NamedTuple):
    """Sentence pairs; the sequences have equal length."""

    sources: Sequence[str]
    targets: Sequence[str]
    alignments: Sequence[Alignment] | None
    """Word alignments; None for corpora without (all but the grammar's, and files given with --data.alignments)."""
    name: str
    """train, validation, test or unseen."""


class Corpora(NamedTuple):
    """The splits that a run is trained and evaluated on."""

    train: Corpus
    validation: Corpus
    test: Corpus | None
    unseen: Corpus | None
    """Grammar only: sentences with constructions that never occur in training."""
    skipped: dict[str, int]
    """Pairs left out of training, by reason; every count is above 0."""
    parts: tuple[int, ...]
    """Number of training pairs of each corpus of the mixture, in order."""
    cut: bool
    """Whether reading stopped at `limit`, so that the counts cover only what was read."""
    shared: dict[str, int]
    """Training pairs that are also in a held-out set, by its name; every count is above 0."""
    replaced: int
    """Training pairs in which characters that tokenizers reserve were replaced."""


def read_or_validation(folder: Path, name: str, languages: tuple[str, str]) -> Corpus:
    """Like `read`, but a run without a test set is evaluated on its validation set, with a warning."""
    if name == "test" and not exists(folder, name, languages):
        log.warning("the run has no test set: using its validation set")
        name = "validation"
    return read(folder, name, languages)


def read_for_report(folder: Path, name: str, languages: tuple[str, str]) -> list[Corpus]:
    """As `read_or_validation`; the grammar's test set is followed by its split of unseen constructions."""
    found = [read_or_validation(folder, name, languages)]
    if name == "test" and exists(folder, "unseen", languages):
        found.append(read(folder, "unseen", languages))
    return found


def exists(folder: Path, name: str, languages: tuple[str, str]) -> bool:
    """Whether `write` wrote a corpus of this name."""
    return (folder / f"{name}.{languages[0]}").is_file()


def write(corpus: Corpus, folder: Path, languages: tuple[str, str]) -> None:
    """Write a corpus as plain text: `<name>.<language>`, and `<name>.align` (Pharaoh, "0-0 1-2") for its
    alignments. `checksums.json` has the checksums of all files of the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for language, sentences in zip(languages, (corpus.sources, corpus.targets), strict=True):
        _write_lines(folder / f"{corpus.name}.{language}", sentences)
    if corpus.alignments is not None:
        _write_lines(folder / f"{corpus.name}.align", map(format_alignment, corpus.alignments))
    checksums.write(folder, folder / CHECKSUMS)


def read(folder: Path, name: str, languages: tuple[str, str]) -> Corpus:
    """Read a corpus that `write` wrote. Raises TransformerError if its files are missing or changed."""
    if damage := checksums.find_damage(folder, folder / CHECKSUMS, f"{name}."):
        raise TransformerError(
            f"{folder}: {damage}: restore the folder from a copy; to evaluate other text, give it with --source and "
            "--reference"
        )
    sources, targets = read_parallel(*(find_file(str(folder / name), language) for language in languages))
    path = folder / f"{name}.align"
    if not path.exists():
        return Corpus(sources, targets, None, name)
    return Corpus(sources, targets, read_alignments(path, len(sources)), name)


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    with path.open("wb") as file:
        file.writelines(line.encode("utf-8") + b"\n" for line in lines)
