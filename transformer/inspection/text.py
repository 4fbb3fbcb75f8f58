"""What only the text itself tells: words, repeated sentences, held-out sentences met in training.

The training text is walked through once. Of each sentence its hash is kept (16 bytes a pair: 0.64 GB for 40 million),
but no table of its words: there are millions of different ones in a large corpus. Only the words of the held-out sets
are looked for, so that what is kept of words does not grow with the corpus.
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
from transformer.data.corpora.filters import normalize
from transformer.data.tokenizers.tokenizer import Tokenizers

Ints = NDArray[Any]
Hashes = NDArray[np.uint64]

CHUNK = 16_384
"""Pairs read at once."""
BLOCK = 1 << 20
"""Hashes looked at at once."""
PART = 1 << 22
"""Pairs sorted at once, about."""
FACTOR = np.uint64(0x9E3779B97F4A7C15)
"""Odd, so that a pair's hash tells its two sides apart."""


class Walked(NamedTuple):
    """What a walk through N training pairs finds, each side by itself."""

    words: tuple[Ints, Ints]
    """[longest + 1] sentences of each length in words."""
    hashes: tuple[Hashes, Hashes]
    """[N] of the sentences."""
    unmet: tuple[set[str], set[str]]
    """Of the words that were looked for, those that no sentence has."""


class Kept(NamedTuple):
    """A held-out set, each side by itself."""

    words: tuple[Counter[str], Counter[str]]
    """How often each word occurs."""
    hashes: tuple[Hashes, Hashes]


def keep(corpus: Corpus, tokenizers: Tokenizers) -> Kept:
    """A held-out set's words and hashes."""
    texts = corpus.sources, corpus.targets
    source, target = (
        Counter(chain.from_iterable(map(tokenizer.split_words, text)))
        for tokenizer, text in zip(tokenizers, texts, strict=True)
    )
    # The training text is in the tokenizers' normal form already.
    normal = ([normalize(one, side.form) for one in text] for side, text in zip(tokenizers, texts, strict=True))
    hashes = [hash_all(text) for text in normal]
    return Kept((source, target), (hashes[0], hashes[1]))


def walk(corpus: Corpus, sentences: Ints, tokenizers: Tokenizers, sought: Sequence[Kept]) -> Walked:
    """Go through the training pairs of a corpus.

    sentences: [N] int64, ascending: which of the corpus's pairs are trained on. sought: the sets whose words are looked
    for.
    """
    words = [np.zeros(1, np.int64), np.zeros(1, np.int64)]
    hashes = np.empty(len(sentences), np.uint64), np.empty(len(sentences), np.uint64)
    unmet = {word for kept in sought for word in kept.words[0]}, {word for kept in sought for word in kept.words[1]}
    with tqdm(total=len(sentences), desc="reading", unit=" pairs", unit_scale=True, disable=None, leave=False) as bar:
        for start in range(0, len(sentences), CHUNK):
            places = sentences[start : start + CHUNK]
            first, last = int(places[0]), int(places[-1])
            for side, texts in enumerate((corpus.sources, corpus.targets)):
                block = texts[first : last + 1]
                chosen = [block[place] for place in (places - first).tolist()]
                rows = list(map(tokenizers[side].split_words, chosen))
                words[side] = _sum(words[side], np.bincount(np.fromiter(map(len, rows), np.int64, len(rows))))
                unmet[side].difference_update(chain.from_iterable(rows))
                hashes[side][start : start + len(places)] = hash_all(chosen)
            bar.update(len(places))
    return Walked((words[0], words[1]), hashes, unmet)


def _sum(one: Ints, other: Ints) -> Ints:
    """Of counts by length, the shorter filled with zeros."""
    longer, shorter = (one, other) if len(one) >= len(other) else (other, one)
    return longer + np.pad(shorter, (0, len(longer) - len(shorter)))


def hash_all(sentences: Sequence[str]) -> Hashes:
    """[N] 64 bits of BLAKE2b of each sentence. Among 40 million different ones the chance that any two have the same is
    4 in 100,000."""
    digests = (hashlib.blake2b(sentence.encode("utf-8"), digest_size=8).digest() for sentence in sentences)
    return np.frombuffer(b"".join(digests), "<u8").astype(np.uint64)


def of_pairs(source: Hashes, target: Hashes) -> Hashes:
    """[N] of the pairs, from those of their sides."""
    return source * FACTOR + target


def repeats(keys: Hashes, others: Hashes) -> tuple[int, int, int]:
    """(different pairs, different keys, keys that go with several others) of the pairs (keys, others), [N] each.

    Pairs are sorted in parts, by the last bits of their keys, so that equal keys come into the same part.
    """
    pairs = different = several = 0
    parts = 1 << (len(keys) // PART).bit_length()
    for part in range(parts):
        mine = np.flatnonzero((keys & np.uint64(parts - 1)) == part)
        if not len(mine):
            continue
        key, other = keys[mine], others[mine]
        order = np.lexsort((other, key))
        key, other = key[order], other[order]
        first = np.ones(len(key), np.bool_)
        first[1:] = (key[1:] != key[:-1]) | (other[1:] != other[:-1])
        _, counts = np.unique(key[first], return_counts=True)
        pairs, different, several = pairs + int(first.sum()), different + len(counts), several + int((counts > 1).sum())
    return pairs, different, several


def leaks(held: Kept, train: Walked) -> dict[str, int]:
    """Held-out pairs that are in training whole, and those whose source, whose target is."""
    wanted = [_Wanted(of_pairs(*held.hashes)), _Wanted(held.hashes[0]), _Wanted(held.hashes[1])]
    for start in range(0, len(train.hashes[0]), BLOCK):
        source, target = (side[start : start + BLOCK] for side in train.hashes)
        for one, block in zip(wanted, (of_pairs(source, target), source, target), strict=True):
            one.look_in(block)
    return {name: int(one.found.sum()) for name, one in zip(("pairs", "sources", "targets"), wanted, strict=True)}


class _Wanted:
    """Some hashes that are looked for among many. Their last bits alone show quickly which of the many may be one."""

    BITS = np.uint64((1 << 20) - 1)

    def __init__(self, hashes: Hashes) -> None:
        self._hashes = hashes
        self._may = np.zeros(int(self.BITS) + 1, np.bool_)
        self._may[hashes & self.BITS] = True
        self.found = np.zeros(len(hashes), np.bool_)

    def look_in(self, many: Hashes) -> None:
        self.found |= np.isin(self._hashes, many[self._may[many & self.BITS]])


def unmet(held: Kept, train: Walked) -> list[float]:
    """Share of a held-out set's running words that training never has, of each side."""
    shares = []
    for words, missing in zip(held.words, train.unmet, strict=True):
        shares.append(sum(n for word, n in words.items() if word in missing) / max(words.total(), 1))
    return shares
