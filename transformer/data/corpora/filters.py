"""Cleaning of sentence pairs: a pair that violates a rule is left out and counted under the first rule it violates.

The rules, in order (`config.Filter` switches them on; the first always applies):

1. empty side;
2. invalid Unicode: surrogates, the replacement character U+FFFD that a wrong decoding leaves, noncharacters;
3. unprintable characters: control characters that are not whitespace, private-use characters. Format characters (soft
   hyphen, joiners, direction marks) are part of how languages are written and are allowed; so are unassigned
   characters, because these differ between versions of Python;
4. more than `max_words` words on a side;
5. lengths whose ratio exceeds `max_ratio`, unless the longer side has at most SHORT words: "Thanks" may well have five
   words in another language;
6. a target that equals the source except for case;
7. duplicate: the pair equals an earlier one that was kept.

Before the rules apply, both sides are converted to a Unicode normal form, if one is set, and stripped. Whitespace
inside a sentence is not collapsed. In pairs that pass, characters that tokenizers reserve are replaced (`normal_form`),
and these pairs are counted.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from transformer.data.config import Filter
from transformer.data.normal_form import normalize, replace_reserved

Pair = tuple[str, str]

SHORT = 5
"""Any ratio is allowed if the longer side has at most this many words."""
CHUNK = 16_384
"""Pairs filtered at a time; bounds the memory."""

NONCHARACTERS = "".join(chr(plane << 16 | last) for plane in range(17) for last in (0xFFFE, 0xFFFF))
"""The last two code points of each plane."""
INVALID = re.compile(f"[\ud800-\udfff\ufffd\ufdd0-\ufdef{NONCHARACTERS}]")
UNPRINTABLE = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ue000-\uf8ff\U000f0000-\U000ffffd\U00100000-\U0010fffd]"
)


class FilteredChunk(NamedTuple):
    """The pairs of a chunk that pass all rules but the last. Except for the text, cheap to send from a worker."""

    pairs: list[Pair]
    """The N pairs that passed, normalised."""
    positions: NDArray[np.int64]
    """[N] the position of each in the chunk."""
    hashes: NDArray[np.uint64] | None
    """[N] of the pairs' text; None if duplicates are kept."""
    counts: Counter[str]
    """Pairs left out, by reason."""
    read: int
    """Number of pairs in the chunk."""
    replaced: int
    """Pairs that passed in which reserved characters were replaced."""


class Cleaner:
    """Cleans a corpus and counts what it leaves out.

    In one process: `clean`. In several: workers call `filter_pairs` on chunks, and the parent calls `accept` on the
    results in order, because only the search for duplicates depends on earlier chunks.
    """

    def __init__(self, settings: Filter):
        """Raises UsageError for impossible settings."""
        settings.check()
        self.settings = settings
        self.read = 0
        """Number of pairs so far, left out or not."""
        self.replaced = 0
        """Pairs that passed in which reserved characters were replaced."""
        self._counts: Counter[str] = Counter()
        self._seen = HashSet()

    @property
    def counts(self) -> dict[str, int]:
        """Pairs left out so far by reason, in the order of the rules; every count is above 0."""
        return {reason: self._counts[reason] for reason in reasons(self.settings) if self._counts[reason]}

    def clean(self, pairs: Iterable[Pair]) -> Iterator[tuple[int, str, str]]:
        """Iterate over the pairs that are kept, normalised, each with its position in the corpus."""
        stream = iter(pairs)
        while chunk := list(islice(stream, CHUNK)):
            first, passed = self.read, filter_pairs(chunk, self.settings)
            for new, position, pair in zip(self.accept(passed), passed.positions.tolist(), passed.pairs, strict=True):
                if new:
                    yield first + position, *pair

    def accept(self, chunk: FilteredChunk) -> NDArray[np.bool_]:
        """Count the next chunk.

        Returns:
            [N] which of its pairs duplicate no earlier pair, of this chunk or of those before.
        """
        self.read += chunk.read
        self.replaced += chunk.replaced
        self._counts += chunk.counts
        if chunk.hashes is None:
            return np.ones(len(chunk.pairs), np.bool_)
        new = self._seen.add(chunk.hashes)
        self._counts[DUPLICATE] += int(len(new) - new.sum())
        return new


class HashSet:
    """A set of 64-bit hashes, as sorted arrays, each more than twice as long as the next.

    It takes 8 bytes per hash, and 20 while the longest arrays are merged (0.8 GB for 40 million pairs). n different
    pairs have about n^2 / 2^65 collisions: among 40 million, the probability that any pair is wrongly taken for a
    duplicate is 4 in 100,000.
    """

    def __init__(self) -> None:
        self._runs: list[NDArray[np.uint64]] = []

    def add(self, hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Add hashes.

        Returns:
            [N] which of them are new: neither in the set before, nor earlier in `hashes`.
        """
        unique, first = np.unique(hashes, return_index=True)
        new = np.ones(len(unique), np.bool_)
        for run in self._runs:
            new &= run[np.minimum(np.searchsorted(run, unique), len(run) - 1)] != unique
        is_new = np.zeros(len(hashes), np.bool_)
        is_new[first[new]] = True
        latest = unique[new]
        while self._runs and len(self._runs[-1]) <= 2 * len(latest):
            latest = np.concatenate([self._runs.pop(), latest])
            latest.sort(kind="stable")  # merges two sorted arrays in linear time
        if len(latest):
            self._runs.append(latest)
        return is_new


def reasons(settings: Filter) -> list[str]:
    """The reasons for leaving out pairs, in the order of the rules."""
    return [EMPTY, INVALID_UNICODE, UNPRINTABLES, _too_long(settings), _unequal(settings), COPY, DUPLICATE]


EMPTY = "empty side"
INVALID_UNICODE = "invalid Unicode"
UNPRINTABLES = "unprintable characters"
COPY = "target is a copy of the source"
DUPLICATE = "duplicate of an earlier pair"


def _too_long(settings: Filter) -> str:
    return f"longer than --data.filter.max-words={settings.max_words}"


def _unequal(settings: Filter) -> str:
    return f"lengths further apart than --data.filter.max-ratio={settings.max_ratio:g}"


def filter_pairs(pairs: Iterable[Pair], settings: Filter) -> FilteredChunk:
    """Normalise pairs and apply all rules but the last, which `Cleaner.accept` applies."""
    passed: list[Pair] = []
    positions: list[int] = []
    counts: Counter[str] = Counter()
    form, read, replaced = settings.normalize, 0, 0
    for pair in pairs:
        if form != "none":
            pair = normalize(pair[0], form), normalize(pair[1], form)
        reason = violated_rule(*pair, settings)
        if reason is None:
            ordinary = replace_reserved(pair[0]), replace_reserved(pair[1])
            replaced += ordinary != pair
            passed.append(ordinary)
            positions.append(read)
        else:
            counts[reason] += 1
        read += 1
    hashes = hash_pairs(passed) if settings.drop_duplicates else None
    return FilteredChunk(passed, np.array(positions, np.int64), hashes, counts, read, replaced)


def violated_rule(source: str, target: str, settings: Filter) -> str | None:
    """The reason for leaving out a pair: the first rule that it violates, of those that need no other pair; or None."""
    if not source or not target or source.isspace() or target.isspace():
        return EMPTY
    if settings.drop_unprintable and not (_is_printable(source) and _is_printable(target)):
        if INVALID.search(source) or INVALID.search(target):
            return INVALID_UNICODE
        if UNPRINTABLE.search(source) or UNPRINTABLE.search(target):
            return UNPRINTABLES
    if settings.max_words or settings.max_ratio:
        lengths = len(source.split()), len(target.split())
        longer, shorter = max(lengths), min(lengths)
        if settings.max_words and longer > settings.max_words:
            return _too_long(settings)
        if settings.max_ratio and longer > SHORT and longer > settings.max_ratio * shorter:
            return _unequal(settings)
    if settings.drop_copies and source.casefold() == target.casefold():
        return COPY
    return None


def _is_printable(text: str) -> bool:
    """Whether the patterns cannot match, as in most text; faster than they are."""
    return text.isprintable() and "\ufffd" not in text


def hash_pairs(pairs: Iterable[Pair]) -> NDArray[np.uint64]:
    """[N] 64 bits of BLAKE2b of each pair's text, the same in every process and on every machine."""
    digests = (
        hashlib.blake2b(f"{len(source)} {source}{target}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
        for source, target in pairs
    )
    return np.frombuffer(b"".join(digests), "<u8").astype(np.uint64)
