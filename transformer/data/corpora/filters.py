"""Cleaning of sentence pairs: what a rule leaves out is counted, and by the first rule it breaks alone.

The rules, in their order (`config.Filter` says which are on; the first always is):

1. empty side;
2. invalid Unicode: surrogates, the replacement character U+FFFD that a wrong decoding leaves, noncharacters;
3. unprintable characters: control characters that are not whitespace, private-use characters. Format characters (soft
   hyphen, joiners, marks of direction) are part of how languages are written and may stay; unassigned characters may
   too, as what is unassigned differs between versions of Python;
4. more than `max_words` words on a side;
5. lengths that differ by more than `max_ratio`, unless the longer side has at most SHORT words: "Thanks" may well have
   five words elsewhere;
6. a target that is a copy of the source, but for case;
7. duplicate: the pair came before among those that were kept.

Before the rules both sides are brought into a normal form, if one is set, and stripped. Whitespace inside a sentence is
not collapsed.
"""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Literal, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from transformer.data.config import Filter

Pair = tuple[str, str]
Form = Literal["none", "nfc", "nfkc"]

SHORT = 5
"""Words of a longer side up to which any ratio passes."""
CHUNK = 16_384
"""Pairs sifted at once; bounds the memory."""

LAST = "".join(chr(plane << 16 | last) for plane in range(17) for last in (0xFFFE, 0xFFFF))
"""The last two of each plane are no characters."""
INVALID = re.compile(f"[\ud800-\udfff\ufffd\ufdd0-\ufdef{LAST}]")
UNPRINTABLE = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ue000-\uf8ff\U000f0000-\U000ffffd\U00100000-\U0010fffd]"
)


class Sifted(NamedTuple):
    """What the rules but the last left of a chunk of pairs. Small to send from a worker but for the text."""

    pairs: list[Pair]
    """Kept, N of them, normalised."""
    places: NDArray[np.int64]
    """[N] which pair of the chunk each is."""
    hashes: NDArray[np.uint64] | None
    """[N] of the pairs' text; None where duplicates are kept."""
    counts: Counter[str]
    """Pairs left out, by reason."""
    read: int
    """Pairs of the chunk."""


class Cleaner:
    """Cleans a corpus and counts what it leaves out.

    In one process: `clean`. In several: workers `sift` chunks, and the parent asks `fresh` of each in order; that alone
    needs to know the chunks before.
    """

    def __init__(self, settings: Filter):
        """Raises UsageError for settings that cannot be."""
        settings.check()
        self.settings = settings
        self.read = 0
        """Pairs so far, left out or not."""
        self._counts: Counter[str] = Counter()
        self._seen = Seen()

    @property
    def counts(self) -> dict[str, int]:
        """Pairs left out so far by reason, in the order of the rules; no reason is there with a count of 0."""
        return {reason: self._counts[reason] for reason in reasons(self.settings) if self._counts[reason]}

    def clean(self, pairs: Iterable[Pair]) -> Iterator[tuple[int, str, str]]:
        """The pairs that are kept, normalised, each with its place among all."""
        stream = iter(pairs)
        while chunk := list(islice(stream, CHUNK)):
            first, sifted = self.read, sift(chunk, self.settings)
            for fresh, place, pair in zip(self.fresh(sifted), sifted.places.tolist(), sifted.pairs, strict=True):
                if fresh:
                    yield first + place, *pair

    def fresh(self, sifted: Sifted) -> NDArray[np.bool_]:
        """[N] which of a chunk's pairs are no duplicates, of one another or of chunks before; all are counted."""
        self.read += sifted.read
        self._counts += sifted.counts
        if sifted.hashes is None:
            return np.ones(len(sifted.pairs), np.bool_)
        new = self._seen.add(sifted.hashes)
        self._counts[DUPLICATE] += int(len(new) - new.sum())
        return new


class Seen:
    """The 64-bit hashes met so far, in sorted arrays, each more than twice as long as the next.

    8 bytes a hash; 20 for the moment when the longest arrays are joined (0.8 GB for 40 million pairs). n different
    pairs have about n^2 / 2^65 collisions, so that among 40 million the chance that a single one is taken for a
    duplicate is 4 in 100,000.
    """

    def __init__(self) -> None:
        self._runs: list[NDArray[np.uint64]] = []

    def add(self, hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """[N] which of them came neither before nor earlier among themselves."""
        unique, first = np.unique(hashes, return_index=True)
        new = np.ones(len(unique), np.bool_)
        for run in self._runs:
            new &= run[np.minimum(np.searchsorted(run, unique), len(run) - 1)] != unique
        fresh = np.zeros(len(hashes), np.bool_)
        fresh[first[new]] = True
        latest = unique[new]
        while self._runs and len(self._runs[-1]) <= 2 * len(latest):
            latest = np.concatenate([self._runs.pop(), latest])
            latest.sort(kind="stable")  # which joins two sorted arrays in linear time
        if len(latest):
            self._runs.append(latest)
        return fresh


def reasons(settings: Filter) -> list[str]:
    """Why pairs may be left out, in the order of the rules."""
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


def sift(pairs: Iterable[Pair], settings: Filter) -> Sifted:
    """Normalise pairs and leave out those that break a rule, all but the last, which is `Cleaner.fresh`'s."""
    kept: list[Pair] = []
    places: list[int] = []
    counts: Counter[str] = Counter()
    form, read = settings.normalize, 0
    for pair in pairs:
        if form != "none":
            pair = normalize(pair[0], form), normalize(pair[1], form)
        reason = broken(*pair, settings)
        if reason is None:
            kept.append(pair)
            places.append(read)
        else:
            counts[reason] += 1
        read += 1
    hashes = hash_pairs(kept) if settings.drop_duplicates else None
    return Sifted(kept, np.array(places, np.int64), hashes, counts, read)


def normalize(text: str, form: Form) -> str:
    """A sentence in a normal form of Unicode, stripped, as nfkc turns an accent of its own into a space and an accent;
    with `none` as it is."""
    if form == "none":
        return text
    return unicodedata.normalize(cast(Any, form.upper()), text).strip()


def broken(source: str, target: str, settings: Filter) -> str | None:
    """Why a pair is left out by the rules that need no other pair: the first that it breaks; None where it is kept."""
    if not source or not target or source.isspace() or target.isspace():
        return EMPTY
    if settings.drop_unprintable and not (_plain(source) and _plain(target)):
        if INVALID.search(source) or INVALID.search(target):
            return INVALID_UNICODE
        if UNPRINTABLE.search(source) or UNPRINTABLE.search(target):
            return UNPRINTABLES
    if settings.max_words or settings.max_ratio:
        one, other = len(source.split()), len(target.split())
        longer, shorter = (one, other) if one > other else (other, one)
        if settings.max_words and longer > settings.max_words:
            return _too_long(settings)
        if settings.max_ratio and longer > SHORT and longer > settings.max_ratio * shorter:
            return _unequal(settings)
    if settings.drop_copies and source.casefold() == target.casefold():
        return COPY
    return None


def _plain(text: str) -> bool:
    """Nothing that the patterns could find; most text, and quicker than they."""
    return text.isprintable() and "\ufffd" not in text


def hash_pairs(pairs: Iterable[Pair]) -> NDArray[np.uint64]:
    """[N] 64 bits of BLAKE2b of each pair's text, the same in every process and on every machine."""
    digests = (
        hashlib.blake2b(f"{len(source)} {source}{target}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
        for source, target in pairs
    )
    return np.frombuffer(b"".join(digests), "<u8").astype(np.uint64)
