"""The sentence pairs of a run: read from their sources, filtered, held out; the training pairs kept on disk.

Training pairs are cleaned once and kept in `<cache>/corpus/<key>/`, so that their text costs no memory; the
key is of all that they come from. The other splits are small, and lists.
"""

import hashlib
import heapq
import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, overload

from tqdm import tqdm

from transformer.data import config
from transformer.data.cache import entry
from transformer.data.corpora import sources
from transformer.data.corpora.files import find, read_parallel, stream_lines
from transformer.data.corpora.filters import CHUNK, Cleaner, sift
from transformer.data.corpora.sources import Pair, Source, Sources, check_links
from transformer.data.corpora.text import Text, TextWriter, digest
from transformer.errors import TransformerError, UsageError

log = logging.getLogger(__name__)

Alignment = tuple[tuple[int, int], ...]
"""Word links (source word, target word), 0-indexed, words split at spaces."""

VERSION = 2
SIDES = ("source", "target")
KEY = b"20170612"
"""Draws the held-out pairs. Not a setting: every run on the same text keeps the same validation set."""


class Alignments(Sequence[Alignment]):
    """Word alignments, read from lines in the Pharaoh format when they are asked for."""

    def __init__(self, lines: Sequence[str]) -> None:
        self._lines = lines

    @property
    def digest(self) -> str:
        """Equal for equal lines."""
        return digest(self._lines)

    def __len__(self) -> int:
        return len(self._lines)

    @overload
    def __getitem__(self, index: int) -> Alignment: ...
    @overload
    def __getitem__(self, index: slice) -> list[Alignment]: ...
    def __getitem__(self, index: int | slice) -> Alignment | list[Alignment]:
        found = self._lines[index]
        return parse_links(found) if isinstance(found, str) else [parse_links(line) for line in found]

    def __iter__(self) -> Iterator[Alignment]:
        return map(parse_links, self._lines)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]


def parse_links(line: str) -> Alignment:
    """ "0-0 1-2" as pairs of numbers. Raises ValueError for anything else."""
    pairs = [link.split("-") for link in line.split()]
    return tuple((int(source), int(target)) for source, target in pairs)


class Corpus(NamedTuple):
    """Sentence pairs; the sequences are of equal length."""

    sources: Sequence[str]
    targets: Sequence[str]
    alignments: Sequence[Alignment] | None
    """Word alignments; None where there are none (every corpus but the grammar's, and files that were given some)."""
    name: str
    """train, validation, test or unseen."""


class Corpora(NamedTuple):
    """What a run trains on and is measured by."""

    train: Corpus
    validation: Corpus
    test: Corpus | None
    unseen: Corpus | None
    """Grammar only: sentences with constructions that training never showed."""
    skipped: dict[str, int]
    """Pairs left out of training, by reason; no reason is there with a count of 0."""
    parts: tuple[int, ...]
    """Training pairs of each corpus that is mixed, in their order."""
    cut: bool
    """Whether reading ended at `limit`: of what follows no more was counted than was read with it."""


def load(data: config.Data) -> Corpora:
    """All the splits that `data` describes.

    Raises UsageError on impossible settings, TransformerError on bad text or where the cache cannot be written.
    """
    if data.limit < 0:
        raise UsageError(f"--data.limit={data.limit} is negative; 0 means all pairs")
    found = sources.find(data)
    folder = Path(data.cache).expanduser() / "corpus" / _key(data, found)
    train, validation, about = entry(folder, _open, lambda into: _make(into, data, found), data.cache, resumes=False)
    return Corpora(
        train=train,
        validation=validation if found.validation is None else _read_all(found.validation, "validation"),
        test=_read_all(found.test, "test") if found.test else None,
        unseen=_read_all(found.unseen, "unseen") if found.unseen else None,
        skipped=about["skipped"],
        parts=tuple(about["parts"]),
        cut=about["cut"],
    )


def _read_all(source: Source, name: str) -> Corpus:
    return _in_lists(source.pairs(), source.aligned, name)


def _in_lists(pairs: Iterable[Pair], aligned: bool, name: str) -> Corpus:
    kept = list(pairs)
    links = [parse_links(pair.links) for pair in kept] if aligned else None
    return Corpus([pair.source for pair in kept], [pair.target for pair in kept], links, name)


def _key(data: config.Data, found: Sources) -> str:
    told = [VERSION, asdict(data.filter), data.limit, found.validation is None and data.held_out]
    digest = hashlib.sha256(json.dumps([told, [source.identity() for source in found.train]]).encode())
    return digest.hexdigest()[:32]


def _make(folder: Path, data: config.Data, found: Sources) -> None:
    """Read, filter and write the training pairs, and those that are set aside."""
    held: list[Pair] = []
    if found.validation is None:
        cleaner = Cleaner(data.filter)
        held = _hold_out((pair for source in found.train for pair in _cleaned(source, cleaner)), data.held_out)
        write(_in_lists(held, found.train[0].aligned, "validation"), folder, SIDES)
    about = _write_train(folder, data, found.train, held)
    if not sum(about["parts"]):
        raise TransformerError(
            f"{' and '.join(source.name for source in found.train)}: no pairs are left to train on (left out: "
            f"{about['skipped']}); name a validation set with --data.validation, loosen --data.filter, or give "
            "more text"
        )
    (folder / "corpus.json").write_text(json.dumps(about))


def _cleaned(source: Source, cleaner: Cleaner) -> Iterator[Pair]:
    """The pairs of a source that pass the filters; the cleaner counts them and the others."""
    given = tqdm(source.pairs(), source.name, unit=" pairs", unit_scale=True, disable=None, leave=False)
    stream = iter(given)
    while chunk := list(islice(stream, CHUNK)):
        sifted = sift([(pair.source, pair.target) for pair in chunk], cleaner.settings)
        for fresh, place, sides in zip(cleaner.fresh(sifted), sifted.places.tolist(), sifted.pairs, strict=True):
            if fresh:
                yield Pair(*sides, chunk[place].links)


def _write_train(folder: Path, data: config.Data, given: list[Source], held: list[Pair]) -> dict[str, Any]:
    """Write what is not held out, and say what became of the rest."""
    out = {pair.source for pair in held}, {pair.target for pair in held}
    unmet = {(pair.source, pair.target) for pair in held}
    aligned, cleaner = given[0].aligned, Cleaner(data.filter)
    parts, shared, cut = [0] * len(given), 0, False
    with ExitStack() as stack:
        writers = [stack.enter_context(TextWriter(folder / name)) for name in (*SIDES, "links")]
        for part, one in enumerate(given):
            for pair in _cleaned(one, cleaner):
                if pair.source in out[0] or pair.target in out[1]:
                    shared += pair[:2] not in unmet
                    unmet.discard(pair[:2])
                    continue
                if data.limit and parts[part] == data.limit:
                    cut = True
                    break
                parts[part] += 1
                for writer, text in zip(writers, pair, strict=True):
                    writer.append(text)
    skipped = dict(cleaner.counts)
    if shared:
        skipped["also in the held-out set"] = shared
    return {"parts": parts, "skipped": skipped, "cut": cut, "aligned": aligned, "held": len(held)}


def _hold_out(pairs: Iterable[Pair], most: int) -> list[Pair]:
    """At most `most` distinct pairs, and a tenth of all, in their order. Each distinct pair has the same chance: those
    with the smallest hashes are taken, so that the draw needs no list of the pairs."""
    largest: list[tuple[int, int]] = []  # minus the hash, so that the first of the heap is the largest; and the place
    chosen: dict[int, Pair] = {}
    most, count = max(most, 1), 0
    for place, pair in enumerate(pairs):
        count += 1
        text = f"{pair.source}\n{pair.target}".encode()
        hashed = int.from_bytes(hashlib.blake2b(text, digest_size=8, key=KEY).digest(), "big")
        if hashed in chosen or (len(largest) >= most and hashed > -largest[0][0]):
            continue
        heapq.heappush(largest, (-hashed, place))
        chosen[hashed] = pair
        if len(largest) > most:
            del chosen[-heapq.heappop(largest)[0]]
    kept = sorted(largest, reverse=True)[: max(1, min(most, count // 10))]
    return [chosen[-hashed] for hashed, place in sorted(kept, key=lambda one: one[1])]


def _open(folder: Path) -> tuple[Corpus, Corpus, dict[str, Any]] | None:
    """The training pairs in a folder, those held out of them, and what is known of them; None where they are missing or
    a file has not its size."""
    try:
        about = json.loads((folder / "corpus.json").read_text())
        source, target, links = (Text(folder / name) for name in (*SIDES, "links"))
        if not len(source) == len(target) == sum(about["parts"]):
            return None
        train = Corpus(source, target, Alignments(links) if about["aligned"] else None, "train")
        held = about["held"]
        validation = read(folder, "validation", SIDES) if held else Corpus([], [], None, "validation")
        if len(validation.sources) != held:
            return None
    except (OSError, ValueError, KeyError, TypeError, TransformerError):
        return None
    return train, validation, about


def read_or_validation(folder: Path, name: str, languages: tuple[str, str]) -> Corpus:
    """As `read`; a run that was given no test set is measured by its validation set, and the log says so."""
    if name == "test" and not there(folder, name, languages):
        log.warning("the run has no test set: using its validation set")
        name = "validation"
    return read(folder, name, languages)


def there(folder: Path, name: str, languages: tuple[str, str]) -> bool:
    """Whether `write` kept a corpus of this name."""
    return (folder / f"{name}.{languages[0]}").is_file()


def write(corpus: Corpus, folder: Path, languages: tuple[str, str]) -> None:
    """Keep a corpus as plain text: `<name>.<language>`, and `<name>.align` (Pharaoh, "0-0 1-2") with
    alignments."""
    folder.mkdir(parents=True, exist_ok=True)
    for language, sentences in zip(languages, (corpus.sources, corpus.targets), strict=True):
        _write_lines(folder / f"{corpus.name}.{language}", sentences)
    if corpus.alignments is not None:
        links = [" ".join(f"{s}-{t}" for s, t in alignment) for alignment in corpus.alignments]
        _write_lines(folder / f"{corpus.name}.align", links)


def read(folder: Path, name: str, languages: tuple[str, str]) -> Corpus:
    """The corpus that `write` kept. Raises TransformerError when its files are missing or were changed."""
    sources, targets = read_parallel(*(find(str(folder / name), language) for language in languages))
    path = folder / f"{name}.align"
    if not path.exists():
        return Corpus(sources, targets, None, name)
    return Corpus(sources, targets, read_alignments(path, len(sources)), name)


def read_alignments(path: Path, pairs: int) -> list[Alignment]:
    """Word alignments in the Pharaoh format ("0-0 1-2", 0-indexed, source first), plain or .gz, a line for each of the
    `pairs`. Raises TransformerError with the file and the line."""
    lines = list(stream_lines(path))
    for number, line in enumerate(lines, start=1):
        check_links(line, path, number)
    if len(lines) != pairs:
        raise TransformerError(f"{path} has {len(lines)} lines for {pairs} sentence pairs")
    return [parse_links(line) for line in lines]


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    with path.open("wb") as file:
        file.writelines(line.encode("utf-8") + b"\n" for line in lines)
