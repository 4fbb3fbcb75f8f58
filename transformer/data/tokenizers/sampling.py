"""Segmentations drawn at random, anew for each epoch: BPE-dropout and subword regularization.

A draw depends on (seed, epoch, side, example, place of the word) alone, through an integer hash: it is the same on
every machine, in every process, and in whatever order examples are asked for. (sentencepiece's own sampling takes
another seed in each process.) Pieces and scores are those of the sentencepiece model; no piece reaches over a space,
so each word is drawn by itself.
"""

from abc import ABC, abstractmethod
from array import array
from bisect import bisect_right, insort
from collections.abc import Sequence
from decimal import Context, Decimal
from typing import Any, TypeVar

import numpy as np
import sentencepiece

from transformer.data.tokenizers.subwords import SentencePieceTokenizer
from transformer.data.tokenizers.tokenizer import Tokenizer
from transformer.errors import UsageError
from transformer.special_tokens import UNK

SPACE = "▁"
"""How sentencepiece writes a space: every word begins with one."""
UNKNOWN_PENALTY = 10.0
"""An unknown character's score is so much below the lowest of the pieces (sentencepiece's unigram model)."""
REMEMBERED = 1 << 19
"""Segmentations (unigram: words) that a sampler keeps; beyond them it begins anew."""

GOLDEN = 0x9E3779B97F4A7C15
WORD64 = (1 << 64) - 1

Bits = TypeVar("Bits", int, np.ndarray)
Leaves = tuple["array[int]", list[tuple[int, ...]]]
"""What is known of a word: the edges of disjoint intervals of its draw in ascending order (start, end, start, ...), and
the ids that each interval gives. (Arrays, and tuples of numbers: a collector of garbage need not look into them.)"""


def sampler(tokenizer: Tokenizer, rate: float) -> "Sampler":
    """The sampler that belongs to a model which `SentencePieceTokenizer.train` made.

    `rate`: bpe's dropout, 0 to 1 (0: sentencepiece's own segmentation; 1: characters), or unigram's alpha, above 0 and
    at most 1. Raises UsageError for another rate, and for char and word, whose segmentation is the only one.
    """
    kind = _kind(tokenizer)
    _check(kind, rate)
    return (BpeDropout if kind == "bpe" else SubwordRegularization)(tokenizer.content, rate)


def _check(kind: str, rate: float) -> None:
    if kind not in ("bpe", "unigram"):
        raise UsageError(
            f"--tokenizer.sampling={rate}: --tokenizer.kind={kind} has one segmentation of a text, nothing to sample; "
            "use bpe or unigram, or --tokenizer.sampling=0"
        )
    if not 0 <= rate <= 1:
        raise UsageError(f"--tokenizer.sampling={rate} must be from 0 to 1")
    if kind == "unigram" and rate == 0:
        raise UsageError("--tokenizer.sampling=0 samples nothing: with --tokenizer.kind=unigram it must be above 0")


def _kind(tokenizer: Tokenizer) -> str:
    if not isinstance(tokenizer, SentencePieceTokenizer):
        return "word"
    # The library tells a model's kind by what it refuses: only unigram has n-best lists, only char cannot sample.
    model = sentencepiece.SentencePieceProcessor(model_proto=tokenizer.content)
    for kind, attempt in (("unigram", model.nbest_encode_as_ids), ("bpe", model.sample_encode_as_ids)):
        try:
            attempt("a", *((1,) if kind == "unigram" else (-1, 0.5)))
        except RuntimeError:
            continue
        return kind
    return "char"


def splitmix64(state: Bits) -> Bits:
    """The output that SplitMix64 (Steele, Lea and Flood 2014) gives in a state: a hash of 64-bit words (`int`, or
    arrays of uint64) that is one to one."""
    bits = (state + GOLDEN) & WORD64
    bits = ((bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9) & WORD64
    bits = ((bits ^ (bits >> 27)) * 0x94D049BB133111EB) & WORD64
    return bits ^ (bits >> 31)


def draws(seed: int, epoch: int, side: int, examples: Sequence[int], counts: Sequence[int]) -> list[int]:
    """63 random bits for every word: `counts[n]` of them for `examples[n]`, one sentence after the other."""
    key = 0
    for part in (seed, epoch, side):
        key = splitmix64(key ^ (part & WORD64))
    keys = splitmix64(np.asarray(examples, np.uint64) ^ np.uint64(key))
    ends = np.cumsum(counts, dtype=np.int64)
    places = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - counts, counts)
    bits = splitmix64(np.repeat(keys, counts) + places.astype(np.uint64) * np.uint64(GOLDEN))
    drawn: list[int] = (bits >> 1).tolist()
    return drawn


class Coins:
    """Biased coins out of one draw of 63 bits, read as an arithmetic decoder reads its code: the draw lies in an
    interval, each coin cuts it in two, and the half that holds the draw is what is left. So one number pays for all
    the choices in a word, and equal choices are one interval of draws. A short interval gets 64 hashed bits more, so
    that no coin's chance is wrong by more than 2**-53."""

    def __init__(self, draw: int) -> None:
        self._draw = draw
        self._place = draw
        self._width = 1 << 63
        self._more = 0

    def flip(self, chance: int) -> bool:
        """True with probability `chance` / 2**64."""
        if self._width < 1 << 53:
            self._more += 1
            self._place = self._place << 64 | splitmix64((self._draw + self._more * GOLDEN) & WORD64)
            self._width <<= 64
        cut = self._width * chance >> 64
        if self._place < cut:
            self._width = cut
            return True
        self._place -= cut
        self._width -= cut
        return False

    def interval(self) -> tuple[int, int] | None:
        """[start, end) of the draws that fall alike so far; None where they needed more bits."""
        return None if self._more else (self._draw - self._place, self._draw - self._place + self._width)


class Sampler(ABC):
    """Draws segmentations of a sentencepiece model. May be pickled; what it remembers stays behind and has no
    influence on what it draws."""

    def __init__(self, content: bytes, rate: float) -> None:
        """`content`: the model, as `Tokenizer.content`; `rate`: see `sampler`."""
        self.content, self.rate = content, rate
        model = sentencepiece.SentencePieceProcessor(model_proto=content)
        every = range(model.get_piece_size())
        marks = (model.is_control, model.is_unknown, model.is_byte)
        normal = [id_ for id_ in every if not any(is_mark(id_) for is_mark in marks)]
        self._pieces: dict[str, int] = {model.id_to_piece(id_): id_ for id_ in normal}
        self._scores: dict[str, float] = {model.id_to_piece(id_): model.get_score(id_) for id_ in normal}
        self._bytes: list[int] = [id_ for id_ in every if model.is_byte(id_)]
        self._known: dict[str, Leaves] = {}
        self._remembered = 0

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.content, self.rate)

    def encode(self, text: str, seed: int, epoch: int, example: int, side: int) -> list[int]:
        """Ids of a drawn segmentation of a sentence, without begin and end marks. `side`: 0 source, 1 target."""
        return self.encode_all([text], seed, epoch, [example], side)[0]

    def encode_all(
        self, texts: Sequence[str], seed: int, epoch: int, examples: Sequence[int], side: int
    ) -> list[list[int]]:
        """`encode` for many sentences, `texts[n]` being that of example `examples[n]` >= 0; much faster."""
        sentences = [_words(text) for text in texts]
        bits = iter(draws(seed, epoch, side, examples, [len(words) for words in sentences]))
        encoded: list[list[int]] = []
        nothing: Leaves = array("Q"), []
        for words in sentences:
            ids: list[int] = []
            for word, draw in zip(words, bits, strict=False):
                edges, leaves = self._known.get(word, nothing)
                place = bisect_right(edges, draw)
                ids += leaves[place >> 1] if place & 1 else self._draw(word, draw)
            encoded.append(ids)
        return encoded

    def _draw(self, word: str, draw: int) -> tuple[int, ...]:
        """Ids of a word; they are remembered for the whole interval of draws that gives them, where there is one."""
        coins = Coins(draw)
        ids = self._ids(self._segment(SPACE + word, coins))
        if interval := coins.interval():
            self._remembered += 1
            if self._remembered > REMEMBERED:
                self._known.clear()
                self._remembered = 1
            edges, leaves = self._known.setdefault(word, (array("Q"), []))
            place = bisect_right(edges, draw)
            edges[place:place] = array("Q", interval)
            leaves.insert(place >> 1, ids)
        return ids

    def _ids(self, pieces: list[str]) -> tuple[int, ...]:
        """A run of unknown characters is one unknown mark, or bytes, as sentencepiece has it."""
        ids: list[int] = []
        for piece in pieces:
            id_ = self._pieces.get(piece, UNK)
            if id_ != UNK:
                ids.append(id_)
            elif self._bytes:
                ids += [self._bytes[byte] for byte in piece.encode("utf-8")]
            elif not ids or ids[-1] != UNK:
                ids.append(UNK)
        return tuple(ids)

    @abstractmethod
    def _segment(self, word: str, coins: Coins) -> list[str]:
        """Pieces and unknown characters of a word, its leading space included."""


class BpeDropout(Sampler):
    """BPE-dropout (Provilkov et al. 2020, algorithm 1): before every merge each possible one is dropped with
    probability `rate`, for this step only; of those left the one that BPE learnt first is made, the leftmost
    where it occurs twice. Where all were dropped at once, the word is done."""

    def __init__(self, content: bytes, rate: float) -> None:
        super().__init__(content, rate)
        self._dropped = int(rate * 2**64)
        self._ranks = {piece: -score for piece, score in self._scores.items() if len(piece) > 1}

    def _segment(self, word: str, coins: Coins) -> list[str]:
        ranks, dropped, length = self._ranks, self._dropped, len(word)
        # The symbol that begins at i ends at ends[i], and before it is the one that begins at before[i].
        ends, before = [*range(1, length + 1), 0], [*range(-1, length)]
        # Possible merges (rank, start, end), the best first. One is stale when its two symbols are no longer there.
        merges = sorted((rank, i, i + 2) for i in range(length - 1) if (rank := ranks.get(word[i : i + 2])) is not None)
        choice = 0
        while choice < len(merges):
            _, start, end = merges[choice]
            middle = ends[start]
            if ends[middle] != end:
                del merges[choice]
            elif coins.flip(dropped):
                choice += 1
            else:
                del merges[choice]
                ends[start], ends[middle], before[end] = end, length, start
                for left, right in ((before[start], end), (start, ends[end])):
                    if left >= 0 and right and (rank := ranks.get(word[left:right])) is not None:
                        insort(merges, (rank, left, right))
                choice = 0
        pieces, start = [], 0
        while start < length:
            pieces.append(word[start : ends[start]])
            start = ends[start]
        return pieces


class SubwordRegularization(Sampler):
    """Subword regularization (Kudo 2018, section 3.2): a segmentation x of all there are, with probability
    P(x)^alpha / sum, alpha = `rate`, by forward filtering and backward sampling."""

    def __init__(self, content: bytes, rate: float) -> None:
        super().__init__(content, rate)
        # Decimal's exponential is correctly rounded everywhere, which that of a C library need not be.
        exponential = Context(prec=30).exp
        self._weights = {piece: float(exponential(Decimal(rate * score))) for piece, score in self._scores.items()}
        self._unknown = float(exponential(Decimal(rate * (min(self._scores.values()) - UNKNOWN_PENALTY))))
        self._longest = max(map(len, self._scores))
        self._lattices: dict[str, list[list[tuple[int, int]]]] = {}

    def _segment(self, word: str, coins: Coins) -> list[str]:
        lattice = self._lattices.get(word)
        if lattice is None:
            if len(self._lattices) >= REMEMBERED:
                self._lattices.clear()
            lattice = self._lattices[word] = self._lattice(word)
        pieces, end = [], len(word)
        while end:
            start = next(start for start, chance in lattice[end - 1] if coins.flip(chance))
            pieces.append(word[start:end])
            end = start
        return pieces[::-1]

    def _lattice(self, word: str) -> list[list[tuple[int, int]]]:
        """For each end 1, 2, ... the pieces that end there, the longest first: (start, chance x 2**64 that it is
        chosen when no longer one was)."""
        lattice = []
        growth: list[
            float
        ] = []  # growth[i] = F(i + 1) / F(i), F(i) the sum over segmentations of the first i characters
        for end in range(1, len(word) + 1):
            pieces, total, forward = [], 0.0, 1.0  # forward = F(start) / F(end - 1): no power of a long word underflows
            for start in range(end - 1, max(0, end - self._longest) - 1, -1):
                if start < end - 1:
                    forward /= growth[start]
                weight = self._weights.get(word[start:end], self._unknown if start == end - 1 else 0.0)
                if weight:
                    total += weight * forward
                    pieces.append((start, int(weight * forward / total * 2.0**64)))
            growth.append(total)
            lattice.append(pieces[::-1])
        return lattice


def _words(text: str) -> list[str]:
    """A text's words, each without the space before it. As in sentencepiece, a run of spaces is one, a "▁" is one more
    (so that words may be empty), and the text ends with neither."""
    words = text.split(" ")
    if SPACE in text or "" in words:
        joined = SPACE.join(filter(None, words)).rstrip(SPACE)
        return joined.split(SPACE) if joined else []
    return words
