"""Sentence pairs as text: read from parallel files or from the embedded grammar, held out, kept with a run.

A line ends at "\\n" and nowhere else: U+2028, form feeds and the like are part of a sentence. Text is UTF-8;
a byte order mark, a "\\r" before the end of the line and whitespace at either end of a sentence are stripped.
"""

import difflib
import glob
import gzip
import logging
import os
import random
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple, cast

from transformer import config
from transformer.errors import TransformerError, UsageError

log = logging.getLogger(__name__)

Alignment = tuple[tuple[int, int], ...]
"""Word links (source word, target word), 0-indexed, words split at spaces."""

SOURCES = ("grammar", "files")
SEED = 20170612
"""Draws the held-out pairs. Not a setting: every run on the same files keeps the same validation set."""


class Corpus(NamedTuple):
    """Sentence pairs; the lists are of equal length."""

    sources: list[str]
    targets: list[str]
    alignments: list[Alignment] | None
    """Gold word alignments; None where there are none (every corpus but the grammar's)."""
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


def load(data: config.Data) -> Corpora:
    """All the splits that `data` describes.

    Raises UsageError on impossible settings, TransformerError on bad files.
    """
    if data.limit < 0:
        raise UsageError(f"--data.limit={data.limit} is negative; 0 means all pairs")
    if data.languages[0] == data.languages[1]:
        raise UsageError(f"--data.languages: source and target are both {data.languages[0]!r}")
    names = " or ".join(SOURCES)
    if data.source in SOURCES:
        corpora = _from_grammar(data) if data.source == "grammar" else _from_files(data)
        return _limit(corpora, data.limit) if data.limit else corpora
    if data.source.startswith("tfds:"):
        raise UsageError(f"--data.source={data.source}: TFDS is not there yet; use {names}")
    near = difflib.get_close_matches(data.source.lower(), SOURCES, n=1, cutoff=0.0)
    raise UsageError(f"--data.source={data.source} is unknown (did you mean {near[0]}?); use {names}")


def _limit(corpora: Corpora, limit: int) -> Corpora:
    """Keep the first pairs of training; the other splits stay, so that runs of different limits compare."""
    sources, targets, alignments, name = corpora.train
    train = Corpus(sources[:limit], targets[:limit], alignments[:limit] if alignments else alignments, name)
    beyond = len(sources) - len(train.sources)
    more = {f"beyond --data.limit={limit}": beyond} if beyond else {}
    return corpora._replace(train=train, skipped=corpora.skipped | more)


def _from_grammar(data: config.Data) -> Corpora:
    grammar = data.grammar
    if set(data.languages) != {"en", "de"}:
        raise UsageError(f"--data.languages={' '.join(data.languages)}: the grammar speaks en and de only")
    wanted = (("train", grammar.train, 1), ("validation", grammar.validation, 1), ("test", grammar.test, 0))
    for flag, value, least in wanted:
        if value < least:
            raise UsageError(f"--data.grammar.{flag} must be at least {least}, not {value}")
    from transformer.data.grammar import generate  # here, so that plain files need no grammar

    swap = data.languages == ("de", "en")

    def split(name: str, count: int) -> Corpus:
        corpus = Corpus([], [], alignments := [], name)
        pairs = generate(name, seed=grammar.seed, max_words=grammar.max_words, max_depth=grammar.max_depth)
        for _, pair in zip(range(count), pairs, strict=False):
            links = sorted((t, s) if swap else (s, t) for s, t in pair.alignment)
            corpus.sources.append(pair.target if swap else pair.source)
            corpus.targets.append(pair.source if swap else pair.target)
            alignments.append(tuple(links))
        if len(corpus.sources) < count:
            raise TransformerError(
                f"the grammar has only {len(corpus.sources)} {name} pairs under --data.grammar.max-words="
                f"{grammar.max_words} and --data.grammar.max-depth={grammar.max_depth}, not {count}"
            )
        return corpus

    return Corpora(
        train=split("train", grammar.train),
        validation=split("validation", grammar.validation),
        test=split("test", grammar.test) if grammar.test else None,
        unseen=split("unseen", grammar.test) if grammar.test else None,
        skipped={},
    )


def _from_files(data: config.Data) -> Corpora:
    if not data.train:
        raise UsageError("--data.source=files needs --data.train, such as corpus/train for corpus/train.en and .de")
    sides = _sides(data.train, data.languages)
    links = (
        read_alignments(Path(data.alignments).expanduser(), len(sides[0])) if data.alignments else [()] * len(sides[0])
    )
    pairs = list(zip(*sides, links, strict=True))
    train = [pair for pair in pairs if pair[0] and pair[1]]
    skipped = {"empty side": len(pairs) - len(train)}
    if data.validation:
        validation = Corpus(*_sides(data.validation, data.languages), None, "validation")
    else:
        train, held, skipped["also in the held-out set"] = _hold_out(train, data.held_out)
        validation = _corpus(held, bool(data.alignments), "validation")
    if not train:
        raise TransformerError(
            f"{data.train}: no pairs are left to train on ({len(pairs)} read, {skipped}); "
            "name a validation set with --data.validation, or give more text"
        )
    return Corpora(
        train=_corpus(train, bool(data.alignments), "train"),
        validation=validation,
        test=Corpus(*_sides(data.test, data.languages), None, "test") if data.test else None,
        unseen=None,
        skipped={reason: count for reason, count in skipped.items() if count},
    )


Pair = tuple[str, str, Alignment]


def _corpus(pairs: list[Pair], aligned: bool, name: str) -> Corpus:
    links = [pair[2] for pair in pairs] if aligned else None
    return Corpus([pair[0] for pair in pairs], [pair[1] for pair in pairs], links, name)


def _hold_out(pairs: list[Pair], most: int) -> tuple[list[Pair], list[Pair], int]:
    """(pairs for training, distinct pairs set aside, how many others were dropped for sharing a side with
    those)."""
    distinct = list({pair[:2]: pair for pair in pairs}.values())
    count = min(len(distinct), max(1, min(most, len(pairs) // 10)))
    drawn = sorted(random.Random(SEED).sample(range(len(distinct)), count))
    held = [distinct[index] for index in drawn]
    sources, targets = {pair[0] for pair in held}, {pair[1] for pair in held}
    train = [pair for pair in pairs if pair[0] not in sources and pair[1] not in targets]
    return train, held, len(pairs) - len(train) - len(held)


def _sides(prefix: str, languages: tuple[str, str]) -> tuple[list[str], list[str]]:
    """Both sides of a parallel text, of equal and positive length."""
    source, target = read_parallel(*(_find(prefix, language) for language in languages))
    return source, target


def _find(prefix: str, language: str) -> Path:
    pattern = prefix if "{lang}" in prefix else prefix + ".{lang}"
    pattern = str(Path(pattern).expanduser())
    plain = Path(pattern.replace("{lang}", language))
    zipped = plain.with_name(plain.name + ".gz")
    for path in (plain, zipped):
        if path.exists():
            return path
    every = glob.escape(pattern).replace("{lang}", "*")
    beside = {found for end in ("", ".gz") for found in glob.glob(every + end)}  # noqa: PTH207
    names = sorted(Path(found).name if "{lang}" in Path(pattern).name else found for found in beside)
    raise TransformerError(f"no such file: {plain} or {zipped} (found: {', '.join(names) or 'nothing like it'})")


def stream_lines(path: Path | None) -> Iterator[str]:
    """Sentences of a text file, plain or .gz, or of standard input (None), one by one. Raises TransformerError with
    the file and the line."""
    number = 0
    try:
        with _open(path) as file:
            for number, line in enumerate(file, start=1):
                text = line.decode("utf-8")
                yield (text.removeprefix("\ufeff") if number == 1 else text).strip()
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        name = path or "standard input"
        raise TransformerError(f"{name}, line {number}: not UTF-8 (byte 0x{byte:02x} at {error.start + 1})") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise TransformerError(f"{path}: broken gzip file after line {number} ({error})") from None
    except FileNotFoundError:
        raise TransformerError(f"no such file: {path}") from None
    except OSError as error:
        raise TransformerError(f"{path}: cannot be read ({error.strerror or error})") from None


def _open(path: Path | None) -> IO[bytes]:
    if path is None:
        return os.fdopen(os.dup(0), "rb")  # a copy, so that closing it closes no one else's
    return cast(IO[bytes], gzip.open(path)) if path.suffix == ".gz" else path.open("rb")


def read_lines(path: Path) -> list[str]:
    """All sentences of a text file, plain or .gz; an empty file gives an empty list. Errors as
    `stream_lines`."""
    return list(stream_lines(path))


def read_parallel(*paths: Path) -> list[list[str]]:
    """The sentences of files that go together line by line. Errors as `stream_lines`, and TransformerError for an empty
    file and for different numbers of lines."""
    sides = [read_lines(path) for path in paths]
    for path, side in zip(paths, sides, strict=True):
        if not side:
            raise TransformerError(f"{path}: the file is empty")
        if len(side) != len(sides[0]):
            raise TransformerError(
                f"{paths[0]} has {len(sides[0])} lines but {path} has {len(side)}: "
                "line n of one must be the translation of line n of the other"
            )
    return sides


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
    sources, targets = _sides(str(folder / name), languages)
    path = folder / f"{name}.align"
    if not path.exists():
        return Corpus(sources, targets, None, name)
    return Corpus(sources, targets, read_alignments(path, len(sources)), name)


def read_alignments(path: Path, pairs: int) -> list[Alignment]:
    """Word alignments in the Pharaoh format ("0-0 1-2", 0-indexed, source first), plain or .gz, a line for each of the
    `pairs`. Raises TransformerError with the file and the line."""
    alignments = [_links(line, path, number) for number, line in enumerate(stream_lines(path), start=1)]
    if len(alignments) != pairs:
        raise TransformerError(f"{path} has {len(alignments)} lines for {pairs} sentence pairs")
    return alignments


def _links(line: str, path: Path, number: int) -> Alignment:
    try:
        pairs = [link.split("-") for link in line.split()]
        return tuple((int(source), int(target)) for source, target in pairs)
    except ValueError:
        raise TransformerError(f'{path}, line {number}: not an alignment such as "0-0 1-2": {line!r}') from None


def _write_lines(path: Path, lines: list[str]) -> None:
    with path.open("wb") as file:
        file.writelines(line.encode("utf-8") + b"\n" for line in lines)
