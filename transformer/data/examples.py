"""Tokenised sentence pairs on disk, memory-mapped, and kept by the hash of all that they were made from.

A folder `<cache>/examples/<key>/` holds, for each side, its tokens end to end (`source.tokens`, raw uint16 or
int32) and where each sentence starts (`source.offsets`, raw int64, one more than there are sentences);
`examples.json` says how many. The folder appears whole or not at all, so that many processes may build the
same one at once.
"""

import hashlib
import json
import shutil
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, compress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transformer.data.corpus import Corpus
from transformer.data.tokenizer import Tokenizer, Tokenizers, fingerprint
from transformer.errors import TransformerError
from transformer.marks import END

VERSION = 1
CHUNK = 16_384
"""Sentence pairs tokenised at once; bounds the memory."""
SIDES = ("source", "target")

Ints = NDArray[Any]


@dataclass(frozen=True)
class Side:
    """One side of all examples. Sentence i is `tokens[offsets[i]:offsets[i + 1]]`, its end mark included."""

    tokens: Ints
    """[total tokens] uint16 or int32, on disk."""
    offsets: Ints
    """[N + 1] int64, on disk."""
    lengths: Ints
    """[N] int64, in tokens with the end mark, in memory."""


@dataclass(frozen=True)
class Links:
    """Word alignments of all examples, in tokens. Example i's are `pairs[offsets[i]:offsets[i + 1]]`."""

    pairs: Ints
    """[total links, 2] uint16: source token, target token, in memory."""
    offsets: Ints
    """[N + 1] int64, in memory."""
    unusable: int
    """Examples without links although the corpus has some: their text is not parted into words as it is there."""


@dataclass(frozen=True)
class Examples:
    """N tokenised pairs, in the corpus's order without those that were too long."""

    source: Side
    target: Side
    dropped: dict[str, int]
    """Pairs left out, by reason; empty when none was."""
    key: str = ""
    """Hash of all that they were made from; empty for examples that are not on disk."""
    links: Links | None = None
    """See `link`."""

    def __len__(self) -> int:
        return len(self.source.lengths)

    @property
    def source_lengths(self) -> Ints:
        """[N] int64, end mark included."""
        return self.source.lengths

    @property
    def target_lengths(self) -> Ints:
        """[N] int64, end mark included."""
        return self.target.lengths

    def example(self, index: int) -> tuple[Ints, Ints]:
        """Source and target ids of one pair, each closed by the end mark. Raises IndexError outside
        0..N-1."""
        if not 0 <= index < len(self):
            raise IndexError(f"example {index} of {len(self)}")
        source, target = (s.tokens[s.offsets[index] : s.offsets[index + 1]] for s in (self.source, self.target))
        return source, target


def build(corpus: Corpus, tokenizers: Tokenizers, max_length: int | None, cache: Path) -> Examples:
    """Tokenise a corpus, or find it in `cache`. Pairs with a side longer than `max_length` tokens (end mark
    included) are dropped and counted; None keeps all, so that example i is sentence i. A damaged entry of the
    cache is made anew.

    Raises TransformerError when nothing is left, or the cache cannot be written.
    """
    folder = Path(cache).expanduser() / "examples" / _key(corpus, tokenizers, max_length)
    examples = _open(folder, max_length)
    if examples is None:
        try:
            _make(folder, corpus, tokenizers, max_length)
        except OSError as error:
            raise TransformerError(
                f"--data.cache={cache} cannot be written ({error.strerror}): name another folder"
            ) from error
        examples = _open(folder, max_length)
        if examples is None:
            raise TransformerError(f"{folder}: damaged as soon as it was written; name another --data.cache")
    if not len(examples):
        if not corpus.sources:
            raise TransformerError(f"the {corpus.name} set has no sentences")
        raise TransformerError(
            f"all {len(corpus.sources)} pairs of the {corpus.name} set are longer than "
            f"--data.max-length={max_length} tokens: raise it, or give a larger --tokenizer.vocabulary"
        )
    return examples


def link(examples: Examples, corpus: Corpus, tokenizers: Tokenizers, max_length: int | None) -> Examples:
    """What `build` made of a corpus, with the corpus's word alignments spelt out in tokens: each token of a source word
    is linked to each token of the target words it is aligned to. End marks have no links.

    Where an alignment names a word that the tokens do not have, the example gets no links and is counted.
    """
    assert corpus.alignments is not None
    alignments = iter(corpus.alignments)
    pairs: list[tuple[int, int]] = []
    offsets, unusable = [0], 0
    for *sides, fits in _encode(corpus, tokenizers, max_length):
        for source, target, fit in zip(*sides, fits, strict=True):
            alignment = next(alignments)
            if not fit:
                continue
            i, j = _tokens_of_words(source, tokenizers.source), _tokens_of_words(target, tokenizers.target)
            if all(s in i and t in j for s, t in alignment):
                pairs.extend((a, b) for s, t in alignment for a in i[s] for b in j[t])
            else:
                unusable += 1
            offsets.append(len(pairs))
    links = Links(np.array(pairs, np.uint16).reshape(-1, 2), np.array(offsets, np.int64), unusable)
    return replace(examples, links=links)


def _tokens_of_words(ids: list[int], tokenizer: Tokenizer) -> dict[int, list[int]]:
    tokens: dict[int, list[int]] = {}
    for token, word in enumerate(tokenizer.words(ids)):
        tokens.setdefault(word, []).append(token)
    return tokens


def in_memory(sources: Sequence[str], targets: Sequence[str], tokenizers: Tokenizers) -> Examples:
    """Examples of a few pairs that are not worth a file; none is dropped."""
    sides = []
    for texts, tokenizer in ((sources, tokenizers.source), (targets, tokenizers.target)):
        rows = [[*ids, END] for ids in tokenizer.encode_all(texts)]
        lengths = np.fromiter(map(len, rows), np.int64, len(rows))
        tokens = np.fromiter(chain.from_iterable(rows), np.int32, int(lengths.sum()))
        sides.append(Side(tokens, np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]), lengths))
    return Examples(sides[0], sides[1], {})


def _key(corpus: Corpus, tokenizers: Tokenizers, max_length: int | None) -> str:
    digest = hashlib.sha256(f"{VERSION} {fingerprint(tokenizers)} {max_length}".encode())
    for side in (corpus.sources, corpus.targets):
        for start in range(0, len(side), CHUNK):
            digest.update(json.dumps(side[start : start + CHUNK]).encode())
    return digest.hexdigest()[:32]


def _encode(
    corpus: Corpus, tokenizers: Tokenizers, max_length: int | None
) -> Iterator[tuple[list[list[int]], list[list[int]], list[bool]]]:
    """Chunks of token lists, end marks added, and which pairs are not too long."""
    for start in range(0, len(corpus.sources), CHUNK):
        sources = tokenizers.source.encode_all(corpus.sources[start : start + CHUNK])
        targets = tokenizers.target.encode_all(corpus.targets[start : start + CHUNK])
        for ids in chain(sources, targets):
            ids.append(END)
        most = float("inf") if max_length is None else max_length
        yield sources, targets, [max(len(s), len(t)) <= most for s, t in zip(sources, targets, strict=True)]


def _dtype(tokenizer: Tokenizer) -> Any:
    return np.uint16 if tokenizer.size <= 1 << 16 else np.int32


def _make(folder: Path, corpus: Corpus, tokenizers: Tokenizers, max_length: int | None) -> None:
    """Write a folder under another name and move it into place. A concurrent writer's equal folder is as
    good."""
    unfinished = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
    unfinished.mkdir(parents=True)
    try:
        lengths: dict[str, list[Ints]] = {side: [] for side in SIDES}
        for side in SIDES:
            (unfinished / f"{side}.tokens").touch()
        for *chunk, fits in _encode(corpus, tokenizers, max_length):
            for side, tokenizer, every in zip(SIDES, tokenizers, chunk, strict=True):
                rows = list(compress(every, fits))
                sizes = np.fromiter(map(len, rows), np.int64, len(rows))
                tokens = np.fromiter(chain.from_iterable(rows), _dtype(tokenizer), int(sizes.sum()))
                with (unfinished / f"{side}.tokens").open("ab") as file:
                    tokens.tofile(file)
                lengths[side].append(sizes)
        kept = sum(map(len, lengths["source"]))
        about: dict[str, Any] = {"examples": kept, "dropped": len(corpus.sources) - kept}
        for side, tokenizer in zip(SIDES, tokenizers, strict=True):
            offsets = np.cumsum(np.concatenate([np.zeros(1, np.int64), *lengths[side]]))
            offsets.tofile(unfinished / f"{side}.offsets")
            about[side] = {"dtype": np.dtype(_dtype(tokenizer)).name, "tokens": int(offsets[-1])}
        (unfinished / "examples.json").write_text(json.dumps(about))
        try:
            unfinished.rename(folder)
        except OSError:  # something is there: another writer's, which is as good, or a damaged one
            if _open(folder, max_length) is None:
                shutil.rmtree(folder, ignore_errors=True)
                unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _open(folder: Path, max_length: int | None) -> Examples | None:
    """The examples in a folder; None where it is missing, unreadable, or a file has not its size."""
    try:
        about = json.loads((folder / "examples.json").read_text())
        source, target = (_map(folder / side, about[side], about["examples"]) for side in SIDES)
        dropped = int(about["dropped"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    reason = f"longer than --data.max-length={max_length}"
    return Examples(source, target, {reason: dropped} if dropped else {}, folder.name)


def _map(path: Path, about: dict[str, Any], examples: int) -> Side:
    dtype, tokens = np.dtype(about["dtype"]), int(about["tokens"])
    token_file, offset_file = path.with_suffix(".tokens"), path.with_suffix(".offsets")
    expected = (tokens * dtype.itemsize, (examples + 1) * 8)
    if (token_file.stat().st_size, offset_file.stat().st_size) != expected:
        raise ValueError(f"{path}: wrong size")
    if not tokens:  # an empty file cannot be mapped
        return Side(np.zeros(0, dtype), np.zeros(1, np.int64), np.zeros(0, np.int64))
    ids: Ints = np.memmap(token_file, dtype, mode="r").view(np.ndarray)
    offsets: Ints = np.memmap(offset_file, np.int64, mode="r").view(np.ndarray)
    if offsets[0] != 0 or offsets[-1] != tokens:
        raise ValueError(f"{path}: wrong offsets")
    return Side(ids, offsets, np.diff(offsets))
