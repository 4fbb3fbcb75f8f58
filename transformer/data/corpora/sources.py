"""Sources of sentence pairs: parallel files, TFDS datasets, the embedded grammar.

Each can be read any number of times, and has an identity that changes whenever its pairs may have changed.
"""

import difflib
import hashlib
import json
import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import NamedTuple, Protocol

from transformer.data import config
from transformer.data.corpora import files, tfds
from transformer.data.corpora.alignments import (
    check_alignment,
    count_from_0,
    find_misplaced,
    parse_alignment,
)
from transformer.data.normal_form import split_words
from transformer.errors import TransformerError, UsageError
from transformer.plurals import counted

log = logging.getLogger(__name__)

KINDS = ("grammar", "files", "tfds:NAME")
TFDS = "tfds:"
BLOCK = 1 << 22


class Pair(NamedTuple):
    """A sentence and its translation."""

    source: str
    target: str
    links: str = ""
    """Word alignment in the Pharaoh format ("0-0 1-2"), checked; empty if the source has none."""


class Source(Protocol):
    """A stream of sentence pairs."""

    @property
    def name(self) -> str:
        """For messages."""

    @property
    def has_alignments(self) -> bool:
        """Whether its pairs come with word alignments."""

    def identity(self) -> str:
        """A hash: sources with equal identities have equal pairs."""

    def pairs(self) -> Iterator[Pair]:
        """Iterate over all pairs, in order. Raises TransformerError."""


@dataclass(frozen=True)
class ParallelFiles:
    """Two parallel files, and optionally a file with their alignments."""

    prefix: str
    languages: tuple[str, str]
    alignments: str = ""
    first_word: int | None = None
    """How the alignments number a sentence's first word; None: from 0, if they seem to."""

    @property
    def name(self) -> str:
        return self.prefix

    @property
    def has_alignments(self) -> bool:
        return bool(self.alignments)

    def _paths(self) -> list[Path]:
        alignments = [Path(self.alignments).expanduser()] if self.alignments else []
        return [*(files.find_file(self.prefix, language) for language in self.languages), *alignments]

    def identity(self) -> str:
        digest = hashlib.sha256(b"files")
        for path in self._paths():
            digest.update(_digest(path))
        if self.alignments and self.first_word:
            digest.update(b"words count from 1")
        return digest.hexdigest()

    def pairs(self) -> Iterator[Pair]:
        paths = self._paths()
        for number, line in enumerate(files.stream_parallel(*paths), start=1):
            if self.alignments:
                check_alignment(line[2], paths[2], number)
                line = (*line[:2], count_from_0(line[2], self.first_word or 0, paths[2], number))
            yield Pair(*line)

    def check_alignments(self) -> None:
        """Compare the alignments, if there are any, with the sentences.

        Raises TransformerError if most of them name words that do not exist, and UsageError if words seem to count from
        1 and the setting is not given.
        """
        if not self.alignments:
            return
        path, flag = Path(self.alignments), "--data.first-word"
        pairs = (
            (parse_alignment(pair.links), (len(split_words(pair.source)), len(split_words(pair.target))))
            for pair in self.pairs()
        )
        found = find_misplaced(pairs, self.first_word or 0)
        found.refuse(path, f"give {flag} 1")
        if found.seems_shifted and self.first_word is None:
            raise UsageError(
                f"{path}: no link of {counted(found.aligned, 'aligned pair')} names word 0: do its words count from 1? "
                f"Give {flag} 1 or, if they count from 0, {flag} 0"
            )
        if found.outside:
            log.warning("%s: %s: their links are not used", path, found.message)


def _digest(path: Path) -> bytes:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                digest.update(block)
    except OSError as error:
        raise TransformerError(f"{path}: cannot be read ({error.strerror or error})") from None
    return digest.digest()


@dataclass(frozen=True)
class TfdsSplit:
    """A split of a TFDS dataset."""

    dataset: str
    split: str
    languages: tuple[str, str]
    folder: str
    """Folder of all datasets; empty: TFDS's own."""
    flag: str = "--data.train"
    """The setting that names the split."""
    has_alignments: bool = False

    @property
    def name(self) -> str:
        return f"{TFDS}{self.dataset}, {self.split}"

    @cached_property
    def _opened(self) -> "tfds.Pairs":
        folder = Path(self.folder) if self.folder else None
        return tfds.open_split(self.dataset, self.split, self.languages, folder, flag=self.flag)

    def download(self) -> None:
        """Download and prepare the dataset, if necessary. Raises TransformerError."""
        tfds.download(self.dataset, Path(self.folder) if self.folder else None)

    def identity(self) -> str:
        info = _digest(self._opened.folder / "dataset_info.json")  # contains the sizes of all shards
        values = json.dumps(["tfds", self.dataset, self.split, self.languages, len(self._opened), info.hex()])
        return hashlib.sha256(values.encode()).hexdigest()

    def pairs(self) -> Iterator[Pair]:
        for source, target in self._opened:
            yield Pair(source, target)


@dataclass(frozen=True)
class GrammarSplit:
    """The first `count` pairs of a split of the embedded grammar."""

    split: str
    count: int
    settings: config.Grammar
    swapped: bool
    """Whether the direction is German to English."""

    @property
    def has_alignments(self) -> bool:
        return not self.settings.label

    @property
    def name(self) -> str:
        return f"the grammar's {self.split}"

    def identity(self) -> str:
        settings = {name: value for name, value in asdict(self.settings).items() if name != "label" or value}
        digest = hashlib.sha256(json.dumps([self.split, self.count, settings, self.swapped]).encode())
        for path in sorted((Path(__file__).parent.parent / "grammar").glob("*.py")):
            digest.update(path.read_bytes())
        return digest.hexdigest()

    def pairs(self) -> Iterator[Pair]:
        from transformer.data.grammar.pairs import generate

        grammar, count = self.settings, 0
        generated = generate(self.split, seed=grammar.seed, max_words=grammar.max_words, max_depth=grammar.max_depth)
        for pair in islice(generated, self.count):
            count += 1
            sides = (pair.target, pair.source) if self.swapped else (pair.source, pair.target)
            if grammar.label:
                yield Pair(sides[0], "yes" if grammar.label in pair.constructions else "no")
                continue
            links = sorted((t, s) if self.swapped else (s, t) for s, t in pair.alignment)
            yield Pair(*sides, " ".join(f"{s}-{t}" for s, t in links))
        if count < self.count:
            raise TransformerError(
                f"the grammar has only {counted(count, f'{self.split} pair')} under --data.grammar.max-words="
                f"{grammar.max_words} and --data.grammar.max-depth={grammar.max_depth}, not {self.count}"
            )


class Sources(NamedTuple):
    """The sources of every split that the settings name."""

    train: list[Source]
    """The corpora of the mixture."""
    validation: Source | None
    """None: pairs are held out of the training pairs."""
    test: Source | None
    unseen: Source | None


def find_sources(data: config.Data) -> Sources:
    """The sources that `data` describes. Raises UsageError for impossible settings; nothing is read yet."""
    if data.languages[0] == data.languages[1]:
        raise UsageError(f"--data.languages: source and target are both {data.languages[0]!r}")
    if data.source == "grammar":
        return _grammar(data)
    if data.source != "files" and not data.source.startswith(TFDS):
        names = ("grammar", "files", TFDS)
        near = difflib.get_close_matches(data.source.lower(), names, n=1, cutoff=0.0)
        hint = f"did you mean {near[0]}?"
        raise UsageError(f"--data.source={data.source} is unknown ({hint}); use {', '.join(KINDS[:-1])} or {KINDS[-1]}")
    if data.source == "files" and not data.train:
        raise UsageError("--data.source=files needs --data.train, such as corpus/train for corpus/train.en and .de")
    if data.alignments and (data.source != "files" or data.also):
        raise UsageError("--data.alignments requires --data.source=files and a single corpus")
    if data.first_word is not None and not data.alignments:
        raise UsageError("--data.first-word says how --data.alignments counts words, which is not given")
    if data.alignments and data.filter.normalize != "none":
        raise UsageError(
            "--data.alignments numbers the words of the original text; --data.filter.normalize may split it differently"
        )

    def main(name: str, flag: str) -> Source:
        if data.source == "files":
            return ParallelFiles(name, data.languages)
        return TfdsSplit(data.source.removeprefix(TFDS), name, data.languages, data.folder, flag)

    def additional(name: str) -> Source:
        if name.startswith(TFDS):
            return TfdsSplit(name.removeprefix(TFDS), "train", data.languages, data.folder, "--data.also")
        return ParallelFiles(name, data.languages)

    train = main(data.train or "train", "--data.train")
    if data.alignments:
        train = ParallelFiles(data.train, data.languages, data.alignments, data.first_word)
    return Sources(
        train=[train, *map(additional, data.also)],
        validation=main(data.validation, "--data.validation") if data.validation else None,
        test=main(data.test, "--data.test") if data.test else None,
        unseen=None,
    )


def _check_label(data: config.Data) -> None:
    from transformer.data.grammar.pairs import constructions

    if data.languages not in (("en", "label"), ("de", "label")):
        raise UsageError(
            f"--data.languages={' '.join(data.languages)}: with --data.grammar.label give en label, or de label"
        )
    if data.grammar.label not in (known := constructions()):
        near = difflib.get_close_matches(data.grammar.label, known, n=1, cutoff=0.0)[0]
        raise UsageError(
            f"--data.grammar.label={data.grammar.label}: did you mean {near!r}? Choose from {', '.join(known)}"
        )


def _grammar(data: config.Data) -> Sources:
    grammar = data.grammar
    if grammar.label:
        _check_label(data)
    elif set(data.languages) != {"en", "de"}:
        raise UsageError(f"--data.languages={' '.join(data.languages)}: the grammar speaks en and de only")
    if data.also:
        raise UsageError("--data.also requires --data.source=files or tfds:NAME")
    counts = (("train", grammar.train, 1), ("validation", grammar.validation, 1), ("test", grammar.test, 0))
    for name, count, smallest in counts:
        if count < smallest:
            raise UsageError(f"--data.grammar.{name} must be at least {smallest}, not {count}")
    swapped = data.languages[0] == "de"

    def split(name: str, count: int) -> Source | None:
        return GrammarSplit(name, count, grammar, swapped) if count else None

    train, validation = (GrammarSplit(name, count, grammar, swapped) for name, count, _ in counts[:2])
    return Sources([train], validation, split("test", grammar.test), split("unseen", grammar.test))
