"""Tokenised sentence pairs on disk, memory-mapped, and cached under a hash of everything that they are made from.

A folder `<cache>/examples/<key>/` holds, for each side, the concatenated tokens (`source.tokens`, raw uint16 or int32),
the length of each sentence (`source.lengths`, int32), and the start of each sentence and the end of the last
(`source.offsets`, int64); `sentences` (int64) is the position of each example in the corpus, and `examples.json` holds
the counts. The folder appears complete or not at all; an interrupted one is resumed, and if several processes need the
same folder, one makes it. A damaged folder is rebuilt (`cache`), and a token outside the vocabulary is refused when a
batch is made from it.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np

from transformer.data import shards
from transformer.data.cache import cached_folder
from transformer.data.corpora.corpus import Corpus
from transformer.data.corpora.text import digest
from transformer.data.examples import Examples, Ints, Links, Ragged, ragged
from transformer.data.shards import SIDES, PlainTokenisation, Rows, append_eos
from transformer.data.tokenizers.files import fingerprint
from transformer.data.tokenizers.sampling import sampler
from transformer.data.tokenizers.tokenizer import Sentence, Tokenizers
from transformer.errors import TransformerError
from transformer.plurals import counted
from transformer.special_tokens import EOS

VERSION = 2


def build(
    corpus: Corpus, tokenizers: Tokenizers, max_length: int | None, cache: Path, flag: str = "--data.max-length"
) -> Examples:
    """Tokenise a corpus, or read it from `cache`; a damaged folder of the cache is rebuilt.

    Args:
        corpus: N sentence pairs.
        tokenizers: of both sides.
        max_length: pairs with more tokens on either side (EOS included) are dropped and counted; None keeps all, so
            that example i is sentence i.
        cache: the folder of all caches.
        flag: the setting of `max_length`, for messages.

    Raises:
        TransformerError: no pair is left, or the cache cannot be written.
    """
    job = PlainTokenisation(corpus.sources, corpus.targets, tokenizers, max_length)
    folder = Path(cache).expanduser() / "examples" / _key(corpus, tokenizers, str(max_length))

    def make(unfinished: Path) -> None:
        shards.tokenise(unfinished, job, tokenizers, f"tokenising {corpus.name}")

    examples = cached_folder(folder, _open, make, str(cache), resumes=True)
    reason = f"longer than {flag}={max_length}"
    if examples.dropped:
        examples = replace(examples, dropped={reason: sum(examples.dropped.values())})
    if not len(examples):
        if not corpus.sources:
            raise TransformerError(f"the {corpus.name} set has no sentences")
        raise TransformerError(
            f"all of {counted(len(corpus.sources), 'pair')} of the {corpus.name} set are longer than "
            f"{flag}={max_length} tokens: raise it, or give a larger --tokenizer.vocabulary"
        )
    return examples


@dataclass(frozen=True)
class SampledTokenisation:
    """Tokenises every example of `plain` again, with sampled pieces. A pair that would exceed `limit` (source, target)
    keeps its plain pieces."""

    sources: Sequence[str]
    targets: Sequence[str]
    tokenizers: Tokenizers
    rate: float
    seed: int
    epoch: int
    limit: tuple[int, ...]
    plain: Path
    max_serial_shards = 1

    def __len__(self) -> int:
        return len(self._plain())

    def _plain(self) -> Examples:
        plain = _open(self.plain)
        if plain is None:
            raise TransformerError(
                f"{self.plain}: the tokenised text was removed while it was in use; --resume rebuilds it"
            )
        return plain

    def __call__(self, start: int, stop: int, threads: int) -> tuple[Rows, Rows, list[bool]]:
        """Tokens of the examples start, ..., stop - 1, EOS tokens included; all are kept."""
        plain = self._plain()
        assert plain.sentences is not None
        sentences = plain.sentences[start:stop]
        first = int(sentences[0])
        sides = []
        for number, (texts, tokenizer) in enumerate(zip((self.sources, self.targets), self.tokenizers, strict=True)):
            block = texts[first : int(sentences[-1]) + 1]
            chosen = [block[position] for position in (sentences - first).tolist()]
            sampled = sampler(tokenizer, self.rate).encode_all(
                chosen, self.seed, self.epoch, range(start, stop), number
            )
            sides.append(append_eos(sampled))
        for position, (source, target) in enumerate(zip(*sides, strict=True)):
            if len(source) > self.limit[0] or len(target) > self.limit[1]:
                for side, ids in zip(sides, plain.example(start + position), strict=True):
                    side[position] = ids.tolist()
        return sides[0], sides[1], [True] * len(sides[0])


def sample(
    plain: Examples, corpus: Corpus, tokenizers: Tokenizers, rate: float, seed: int, epoch: int, limit: tuple[int, ...],
    folder: Path, stop: Event | None = None,
) -> Examples:  # fmt: skip
    """The examples of an epoch with sampled pieces (`--tokenizer.sampling`), in a folder of this process: the same
    sentences as in `plain`, in the same order. The pieces depend only on (seed, epoch, example).

    Raises:
        TransformerError: the folder cannot be written.
        StoppedError: soon after `stop` is set.
    """
    assert plain.folder is not None
    job = SampledTokenisation(corpus.sources, corpus.targets, tokenizers, rate, seed, epoch, limit, plain.folder)
    try:
        folder.mkdir()
        shards.tokenise(folder, job, tokenizers, f"sampling epoch {epoch + 1}", stop)
    except OSError as error:
        raise TransformerError(f"{folder} cannot be written ({error.strerror or error})") from error
    sampled = _open(folder)
    if sampled is None:
        raise TransformerError(f"{folder}: damaged as soon as it was written; name another --data.cache")
    return sampled


def link(examples: Examples, corpus: Corpus, tokenizers: Tokenizers) -> Examples:
    """Add the corpus's word alignments to the examples that `build` made from it, as links between tokens.

    Each token of a source word is linked to each token of the target words that the word is aligned to; EOS tokens have
    no links. Words are those of the text, separated by plain spaces. If an alignment names a word that does not
    exist, its example has no links and is counted.
    """
    assert corpus.alignments is not None
    assert examples.sentences is not None
    parts, counts, unusable = [], [0], 0
    for start in range(0, len(corpus.sources), shards.SHARD_SIZE):
        block = slice(start, start + shards.SHARD_SIZE)
        kept = examples.sentences[slice(*np.searchsorted(examples.sentences, [block.start, block.stop]))] - start
        texts, alignments = (corpus.sources[block], corpus.targets[block]), corpus.alignments[block]
        sides = [
            tokenizer.segment_all([side[number] for number in kept.tolist()])
            for tokenizer, side in zip(tokenizers, texts, strict=True)
        ]
        pairs: list[tuple[int, int]] = []
        for number, source, target in zip(kept.tolist(), *sides, strict=True):
            alignment = alignments[number]
            i, j = _tokens_of_words(source), _tokens_of_words(target)
            usable = all(s < len(i) and t < len(j) for s, t in alignment)
            found = [(a, b) for s, t in alignment for a in i[s] for b in j[t]] if usable else []
            pairs += found
            unusable += not usable
            counts.append(len(found))
        parts.append(np.array(pairs, np.uint16).reshape(-1, 2))
    offsets = np.cumsum(np.array(counts, np.int64))
    return replace(examples, links=Links(np.concatenate(parts), offsets, unusable))


def _tokens_of_words(sentence: Sentence) -> list[list[int]]:
    tokens: list[list[int]] = [[] for _ in sentence.words]
    for token, word in enumerate(sentence.word_ids):
        tokens[word].append(token)
    return tokens


def in_memory(sources: Sequence[str], targets: Sequence[str], tokenizers: Tokenizers) -> Examples:
    """Examples of a few pairs, in memory; none is dropped."""
    texts = zip(SIDES, (sources, targets), tokenizers, strict=True)
    return Examples({name: ragged([[*ids, EOS] for ids in side.encode_all(text)]) for name, text, side in texts})


def _key(corpus: Corpus, tokenizers: Tokenizers, limit: str) -> str:
    values = [str(VERSION), fingerprint(tokenizers), limit, digest(corpus.sources), digest(corpus.targets)]
    return hashlib.sha256(" ".join(values).encode()).hexdigest()[:32]


def _open(folder: Path) -> Examples | None:
    """The examples in a folder; None if a file is missing, unreadable or of the wrong size."""
    try:
        about = json.loads((folder / "examples.json").read_text())
        columns = {side: _map(folder / side, about[side], about["examples"]) for side in SIDES}
        sentences = _mapped(folder / "sentences", np.dtype(np.int64), about["examples"])
        dropped = int(about["dropped"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    counts = {"too long": dropped} if dropped else {}
    return Examples(columns, counts, folder.name, sentences=sentences, folder=folder)


def _map(path: Path, about: dict[str, Any], examples: int) -> Ragged:
    tokens = int(about["tokens"])
    ids = _mapped(path.with_suffix(".tokens"), np.dtype(about["dtype"]), tokens)
    offsets = _mapped(path.with_suffix(".offsets"), np.dtype(np.int64), examples + 1)
    if offsets[0] != 0 or offsets[-1] != tokens:
        raise ValueError(f"{path}: wrong offsets")
    lengths = _mapped(path.with_suffix(".lengths"), np.dtype(np.int32), examples)
    return Ragged(ids, offsets, lengths, int(about["size"]))


def _mapped(path: Path, dtype: Any, size: int) -> Ints:
    if path.stat().st_size != size * dtype.itemsize:
        raise ValueError(f"{path}: wrong size")
    if not size:  # an empty file cannot be mapped
        return np.zeros(0, dtype)
    mapped: Ints = np.memmap(path, dtype, mode="r").view(np.ndarray)
    return mapped
