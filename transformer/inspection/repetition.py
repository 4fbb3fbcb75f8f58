"""Words, repeated sentences, and held-out sentences that also occur in training.

The training text is read once. The hash of each sentence is kept (16 bytes per pair: 0.64 GB for 40 million), but no
table of all words, because a large corpus has millions: only the words of the held-out sets are searched for.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from transformer.data.corpora.corpus import Corpus
from transformer.data.tokenizers.tokenizer import Tokenizers

Ints = NDArray[Any]
Hashes = NDArray[np.uint64]

CHUNK = 16_384
"""Pairs read at a time."""
BLOCK = 1 << 20
"""Hashes compared at a time."""
PART = 1 << 22
"""Approximate number of pairs sorted at a time."""
FACTOR = np.uint64(0x9E3779B97F4A7C15)
"""Odd; makes the hash of a pair depend on the order of its sides."""


class TrainingText(NamedTuple):
    """Words and hashes of N training pairs, separately for each side."""

    words: tuple[Ints, Ints]
    """[longest + 1] number of sentences of each length in words."""
    hashes: tuple[Hashes, Hashes]
    """[N] of the sentences."""
    unseen: tuple[set[str], set[str]]
    """The words of the held-out sets that no sentence contains."""


class HeldOutText(NamedTuple):
    """Words and hashes of a held-out set, separately for each side."""

    words: tuple[Counter[str], Counter[str]]
    """The count of each word."""
    hashes: tuple[Hashes, Hashes]


def read_held_out(corpus: Corpus, tokenizers: Tokenizers) -> HeldOutText:
    """Words and hashes of a held-out set."""
    texts = corpus.sources, corpus.targets
    source, target = (
        Counter(chain.from_iterable(map(tokenizer.split_words, text)))
        for tokenizer, text in zip(tokenizers, texts, strict=True)
    )
    # The training text is already in the tokenizers' normal form.
    hashes = [
        hash_sentences(list(map(tokenizer.normal, text))) for tokenizer, text in zip(tokenizers, texts, strict=True)
    ]
    return HeldOutText((source, target), (hashes[0], hashes[1]))


def read_training(
    corpus: Corpus, sentences: Ints, tokenizers: Tokenizers, held_out: Sequence[HeldOutText]
) -> TrainingText:
    """Words and hashes of the training pairs.

    Args:
        corpus: contains them.
        sentences: [N] int64, ascending: the positions in the corpus of the pairs that are trained on.
        tokenizers: split the words.
        held_out: the sets whose words are searched for.
    """
    words = [np.zeros(1, np.int64), np.zeros(1, np.int64)]
    hashes = np.empty(len(sentences), np.uint64), np.empty(len(sentences), np.uint64)
    unseen = (
        {word for part in held_out for word in part.words[0]},
        {word for part in held_out for word in part.words[1]},
    )
    with tqdm(total=len(sentences), desc="reading", unit=" pairs", unit_scale=True, disable=None, leave=False) as bar:
        for start in range(0, len(sentences), CHUNK):
            positions = sentences[start : start + CHUNK]
            first, last = int(positions[0]), int(positions[-1])
            for side, texts in enumerate((corpus.sources, corpus.targets)):
                block = texts[first : last + 1]
                chosen = [block[position] for position in (positions - first).tolist()]
                rows = list(map(tokenizers[side].split_words, chosen))
                words[side] = _add(words[side], np.bincount(np.fromiter(map(len, rows), np.int64, len(rows))))
                unseen[side].difference_update(chain.from_iterable(rows))
                hashes[side][start : start + len(positions)] = hash_sentences(chosen)
            bar.update(len(positions))
    return TrainingText((words[0], words[1]), hashes, unseen)


def _add(first: Ints, second: Ints) -> Ints:
    """The sum of counts by length; the shorter array is padded with zeros."""
    longer, shorter = (first, second) if len(first) >= len(second) else (second, first)
    return longer + np.pad(shorter, (0, len(longer) - len(shorter)))


def hash_sentences(sentences: Sequence[str]) -> Hashes:
    """[N] 64 bits of BLAKE2b of each sentence. The probability of any collision among 40 million different sentences is
    4 in 100,000."""
    digests = (hashlib.blake2b(sentence.encode("utf-8"), digest_size=8).digest() for sentence in sentences)
    return np.frombuffer(b"".join(digests), "<u8").astype(np.uint64)


def combine_hashes(source: Hashes, target: Hashes) -> Hashes:
    """[N] hashes of pairs, from the hashes of their sides."""
    return source * FACTOR + target


def count_distinct(keys: Hashes, others: Hashes) -> tuple[int, int, int]:
    """Count distinct pairs (keys, others), [N] each; distinct keys; and keys that occur with several others.

    Pairs are sorted in parts, by the last bits of their keys, so that equal keys are in the same part.
    """
    pairs = distinct = several = 0
    parts = 1 << (len(keys) // PART).bit_length()
    for part in range(parts):
        members = np.flatnonzero((keys & np.uint64(parts - 1)) == part)
        if not len(members):
            continue
        key, other = keys[members], others[members]
        order = np.lexsort((other, key))
        key, other = key[order], other[order]
        first = np.ones(len(key), np.bool_)
        first[1:] = (key[1:] != key[:-1]) | (other[1:] != other[:-1])
        _, counts = np.unique(key[first], return_counts=True)
        pairs, distinct, several = pairs + int(first.sum()), distinct + len(counts), several + int((counts > 1).sum())
    return pairs, distinct, several


def count_leaks(held_out: HeldOutText, train: TrainingText) -> dict[str, int]:
    """Count held-out pairs that also occur in training, and those whose source or target does."""
    searches = [_HashSearch(combine_hashes(*held_out.hashes)), *map(_HashSearch, held_out.hashes)]
    for start in range(0, len(train.hashes[0]), BLOCK):
        source, target = (side[start : start + BLOCK] for side in train.hashes)
        for search, block in zip(searches, (combine_hashes(source, target), source, target), strict=True):
            search.update(block)
    pairs, sources, targets = (int(search.found.sum()) for search in searches)
    return {"pairs": pairs, "sources": sources, "targets": targets}


class _HashSearch:
    """Searches for a few hashes among many. A table of their last bits quickly excludes most of the many."""

    BITS = np.uint64((1 << 20) - 1)

    def __init__(self, hashes: Hashes) -> None:
        self._hashes = hashes
        self._candidates = np.zeros(int(self.BITS) + 1, np.bool_)
        self._candidates[hashes & self.BITS] = True
        self.found = np.zeros(len(hashes), np.bool_)

    def update(self, many: Hashes) -> None:
        """Mark the hashes that occur in a block."""
        self.found |= np.isin(self._hashes, many[self._candidates[many & self.BITS]])


def unseen_word_shares(held_out: HeldOutText, train: TrainingText) -> list[float]:
    """The share of a held-out set's running words that never occur in training, for each side."""
    shares = []
    for words, unseen in zip(held_out.words, train.unseen, strict=True):
        shares.append(sum(n for word, n in words.items() if word in unseen) / max(words.total(), 1))
    return shares
