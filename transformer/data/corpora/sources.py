"""Where sentence pairs come from: parallel files, TFDS datasets, the embedded grammar. Each is a stream of pairs, read
from its beginning as often as it is asked for, and has an identity that changes when the pairs may have.
"""

import difflib
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import NamedTuple, Protocol

from transformer.data import config
from transformer.data.corpora import files, tfds
from transformer.errors import TransformerError, UsageError

KINDS = ("grammar", "files", "tfds:NAME")
TFDS = "tfds:"
BLOCK = 1 << 22


class Pair(NamedTuple):
    """A sentence and its translation."""

    source: str
    target: str
    links: str = ""
    """Word alignment in the Pharaoh format ("0-0 1-2"), checked; empty where the source has none."""


class Source(Protocol):
    """A stream of sentence pairs."""

    @property
    def name(self) -> str:
        """For messages."""

    @property
    def aligned(self) -> bool:
        """Whether its pairs bring word alignments."""

    def identity(self) -> str:
        """Equal for sources that give equal pairs."""

    def pairs(self) -> Iterator[Pair]:
        """All of them, in their order. Raises TransformerError."""


@dataclass(frozen=True)
class Files:
    """Two files, line by line, and perhaps a file of their alignments."""

    prefix: str
    languages: tuple[str, str]
    alignments: str = ""

    @property
    def name(self) -> str:
        return self.prefix

    @property
    def aligned(self) -> bool:
        return bool(self.alignments)

    def _paths(self) -> list[Path]:
        given = [Path(self.alignments).expanduser()] if self.alignments else []
        return [*(files.find(self.prefix, language) for language in self.languages), *given]

    def identity(self) -> str:
        digest = hashlib.sha256(b"files")
        for path in self._paths():
            digest.update(_digest(path))
        return digest.hexdigest()

    def pairs(self) -> Iterator[Pair]:
        source, target, *given = self._paths()
        if not given:
            for one, other in files.stream_parallel(source, target):
                yield Pair(one, other)
            return
        for number, (one, other, links) in enumerate(files.stream_parallel(source, target, given[0]), 1):
            check_links(links, given[0], number)
            yield Pair(one, other, links)


def _digest(path: Path) -> bytes:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                digest.update(block)
    except OSError as error:
        raise TransformerError(f"{path}: cannot be read ({error.strerror or error})") from None
    return digest.digest()


LINKS = re.compile(r"(\d+-\d+(\s+\d+-\d+)*)?")


def check_links(line: str, path: Path, number: int) -> None:
    """Raises TransformerError with the file and the line for what is not in the Pharaoh format."""
    if not LINKS.fullmatch(line.strip()):
        raise TransformerError(f'{path}, line {number}: not an alignment such as "0-0 1-2": {line!r}')


@dataclass(frozen=True)
class Tfds:
    """A split of a dataset of TFDS."""

    dataset: str
    split: str
    languages: tuple[str, str]
    folder: str
    """Of all datasets; empty: where TFDS has them."""
    flag: str = "--data.train"
    """What names the split."""
    aligned: bool = False

    @property
    def name(self) -> str:
        return f"{TFDS}{self.dataset}, {self.split}"

    @cached_property
    def _opened(self) -> "tfds.Pairs":
        folder = Path(self.folder) if self.folder else None
        return tfds.open_split(self.dataset, self.split, self.languages, folder, flag=self.flag)

    def download(self) -> None:
        """Have the dataset, downloaded and prepared if need be. Raises TransformerError."""
        tfds.download(self.dataset, Path(self.folder) if self.folder else None)

    def identity(self) -> str:
        info = _digest(self._opened.folder / "dataset_info.json")  # has the sizes of all shards
        told = json.dumps(["tfds", self.dataset, self.split, self.languages, len(self._opened), info.hex()])
        return hashlib.sha256(told.encode()).hexdigest()

    def pairs(self) -> Iterator[Pair]:
        for source, target in self._opened:
            yield Pair(source, target)


@dataclass(frozen=True)
class Sentences:
    """Pairs of the embedded grammar: the first so many of a split."""

    split: str
    count: int
    settings: config.Grammar
    swapped: bool
    """German to English."""
    aligned: bool = True

    @property
    def name(self) -> str:
        return f"the grammar's {self.split}"

    def identity(self) -> str:
        digest = hashlib.sha256(json.dumps([self.split, self.count, asdict(self.settings), self.swapped]).encode())
        for path in sorted((Path(__file__).parent.parent / "grammar").glob("*.py")):
            digest.update(path.read_bytes())
        return digest.hexdigest()

    def pairs(self) -> Iterator[Pair]:
        from transformer.data.grammar import generate

        grammar, count = self.settings, 0
        made = generate(self.split, seed=grammar.seed, max_words=grammar.max_words, max_depth=grammar.max_depth)
        for pair in islice(made, self.count):
            count += 1
            sides = (pair.target, pair.source) if self.swapped else (pair.source, pair.target)
            links = sorted((t, s) if self.swapped else (s, t) for s, t in pair.alignment)
            yield Pair(*sides, " ".join(f"{s}-{t}" for s, t in links))
        if count < self.count:
            raise TransformerError(
                f"the grammar has only {count} {self.split} pairs under --data.grammar.max-words="
                f"{grammar.max_words} and --data.grammar.max-depth={grammar.max_depth}, not {self.count}"
            )


class Sources(NamedTuple):
    """The sources of every split that the settings name."""

    train: list[Source]
    """The corpora that are mixed."""
    validation: Source | None
    """None: pairs are to be set aside from the training pairs."""
    test: Source | None
    unseen: Source | None


def find(data: config.Data) -> Sources:
    """What `data` describes. Raises UsageError on impossible settings; nothing is read yet."""
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
        raise UsageError("--data.alignments goes with --data.source=files and a single corpus")
    if data.alignments and data.filter.normalize != "none":
        raise UsageError(
            "--data.alignments numbers the words of the text as it is; --data.filter.normalize may part it otherwise"
        )

    def one(given: str, flag: str) -> Source:
        if data.source == "files":
            return Files(given, data.languages)
        return Tfds(data.source.removeprefix(TFDS), given, data.languages, data.folder, flag)

    def other(given: str) -> Source:
        if given.startswith(TFDS):
            return Tfds(given.removeprefix(TFDS), "train", data.languages, data.folder, "--data.also")
        return Files(given, data.languages)

    first = one(data.train or "train", "--data.train")
    if data.alignments:
        first = Files(data.train, data.languages, data.alignments)
    return Sources(
        train=[first, *map(other, data.also)],
        validation=one(data.validation, "--data.validation") if data.validation else None,
        test=one(data.test, "--data.test") if data.test else None,
        unseen=None,
    )


def _grammar(data: config.Data) -> Sources:
    grammar = data.grammar
    if set(data.languages) != {"en", "de"}:
        raise UsageError(f"--data.languages={' '.join(data.languages)}: the grammar speaks en and de only")
    if data.also:
        raise UsageError("--data.also goes with --data.source=files or tfds:NAME")
    wanted = (("train", grammar.train, 1), ("validation", grammar.validation, 1), ("test", grammar.test, 0))
    for flag, value, least in wanted:
        if value < least:
            raise UsageError(f"--data.grammar.{flag} must be at least {least}, not {value}")
    swapped = data.languages == ("de", "en")

    def split(name: str, count: int) -> Source | None:
        return Sentences(name, count, grammar, swapped) if count else None

    train, validation = (Sentences(name, count, grammar, swapped) for name, count, _ in wanted[:2])
    return Sources([train], validation, split("test", grammar.test), split("unseen", grammar.test))
