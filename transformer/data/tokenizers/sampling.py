"""Random segmentations, resampled for each epoch: BPE-dropout and subword regularization.

A sample depends only on (seed, epoch, side, example, position of the word), through an integer hash: it is the same on
every machine, in every process, and for every order of the examples. (sentencepiece's own sampling uses another seed in
each process.) Pieces and scores are those of the sentencepiece model; no piece contains an inner space, so each word is
sampled independently.
"""

from abc import ABC, abstractmethod
from array import array
from bisect import bisect_right, insort
from collections.abc import Sequence
from decimal import Context, Decimal
from typing import Any, Literal, TypeVar

import numpy as np
import sentencepiece

from transformer.data.normal_form import replace_reserved, split_words
from transformer.data.tokenizers.subwords import SentencePieceTokenizer
from transformer.data.tokenizers.tokenizer import Tokenizer
from transformer.errors import UsageError
from transformer.special_tokens import UNK

SPACE = "▁"
"""sentencepiece's symbol for a space, with which every word begins."""
UNKNOWN_PENALTY = 10.0
"""Difference between the lowest score of a piece and the score of an unknown character, as in sentencepiece."""
CACHE_SIZE = 1 << 19
"""Segmentations (unigram: words) that a sampler caches before it empties the cache."""

GOLDEN = 0x9E3779B97F4A7C15
WORD64 = (1 << 64) - 1

Bits = TypeVar("Bits", int, np.ndarray)
CachedWord = tuple["array[int]", list[tuple[int, ...]]]
"""The known segmentations of a word: the ascending bounds of disjoint intervals of its random bits (start, end, start,
...), and the ids for each interval. (The garbage collector need not traverse arrays and tuples of numbers.)"""


def sampler(tokenizer: Tokenizer, rate: float) -> "Sampler":
    """The sampler for a tokenizer that `SentencePieceTokenizer.train` made.

    Args:
        tokenizer: of kind bpe or unigram.
        rate: bpe's dropout, 0 to 1 (0: sentencepiece's own segmentation; 1: characters), or unigram's alpha, above 0
            and at most 1.

    Raises:
        UsageError: another rate; or a tokenizer of kind char or word, which has a single segmentation of a text.
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
    return kind_of(tokenizer.content) if isinstance(tokenizer, SentencePieceTokenizer) else "word"


def kind_of(content: bytes) -> Literal["unigram", "bpe", "char"]:
    """The kind of a sentencepiece model. The library does not tell it, but only unigram has n-best lists, and only char
    cannot sample."""
    model = sentencepiece.SentencePieceProcessor(model_proto=content)
    attempts: tuple[tuple[Literal["unigram", "bpe"], Any], ...]
    attempts = ("unigram", model.nbest_encode_as_ids), ("bpe", model.sample_encode_as_ids)
    for kind, attempt in attempts:
        try:
            attempt("a", *((1,) if kind == "unigram" else (-1, 0.5)))
        except RuntimeError:
            continue
        return kind
    return "char"


def splitmix64(state: Bits) -> Bits:
    """The output of SplitMix64 (Steele, Lea and Flood 2014) for a state: a bijective hash of 64-bit integers (`int`, or
    arrays of uint64)."""
    bits = (state + GOLDEN) & WORD64
    bits = ((bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9) & WORD64
    bits = ((bits ^ (bits >> 27)) * 0x94D049BB133111EB) & WORD64
    return bits ^ (bits >> 31)


def random_bits(seed: int, epoch: int, side: int, examples: Sequence[int], counts: Sequence[int]) -> list[int]:
    """63 random bits for each word, sentence by sentence: example `examples[n]` has `counts[n]` words."""
    key = 0
    for part in (seed, epoch, side):
        key = splitmix64(key ^ (part & WORD64))
    keys = splitmix64(np.asarray(examples, np.uint64) ^ np.uint64(key))
    ends = np.cumsum(counts, dtype=np.int64)
    positions = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - counts, counts)
    bits = splitmix64(np.repeat(keys, counts) + positions.astype(np.uint64) * np.uint64(GOLDEN))
    result: list[int] = (bits >> 1).tolist()
    return result


class Coins:
    """Biased coin flips from one 63-bit random number, by arithmetic decoding.

    The number lies in an interval; each flip splits the interval in two, and the part that contains the number remains.
    One number therefore suffices for all choices in a word, and equal choices correspond to one interval of numbers. A
    short interval is extended by 64 hashed bits, so that no probability is off by more than 2**-53.
    """

    def __init__(self, bits: int) -> None:
        self._bits = bits
        self._position = bits
        self._width = 1 << 63
        self._extensions = 0

    def flip(self, probability: int) -> bool:
        """True with probability `probability` / 2**64."""
        if self._width < 1 << 53:
            self._extensions += 1
            self._position = self._position << 64 | splitmix64((self._bits + self._extensions * GOLDEN) & WORD64)
            self._width <<= 64
        cut = self._width * probability >> 64
        if self._position < cut:
            self._width = cut
            return True
        self._position -= cut
        self._width -= cut
        return False

    def interval(self) -> tuple[int, int] | None:
        """[start, end) of the numbers that give the same flips so far; None if the flips needed more bits."""
        return None if self._extensions else (self._bits - self._position, self._bits - self._position + self._width)


class Sampler(ABC):
    """Samples segmentations of a sentencepiece model. It can be pickled, without its cache, which has no influence on
    the samples."""

    def __init__(self, content: bytes, rate: float) -> None:
        """`content`: the model, as `Tokenizer.content`; `rate`: see `sampler`."""
        self.content, self.rate = content, rate
        model = sentencepiece.SentencePieceProcessor(model_proto=content)
        every = range(model.get_piece_size())
        special = (model.is_control, model.is_unknown, model.is_byte)
        normal = [id_ for id_ in every if not any(is_special(id_) for is_special in special)]
        self._pieces: dict[str, int] = {model.id_to_piece(id_): id_ for id_ in normal}
        self._scores: dict[str, float] = {model.id_to_piece(id_): model.get_score(id_) for id_ in normal}
        self._bytes: list[int] = [id_ for id_ in every if model.is_byte(id_)]
        self._cache: dict[str, CachedWord] = {}
        self._cached = 0

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.content, self.rate)

    def encode(self, text: str, seed: int, epoch: int, example: int, side: int) -> list[int]:
        """Ids of a sampled segmentation of a sentence, without BOS and EOS tokens. `side`: 0 source, 1 target."""
        return self.encode_all([text], seed, epoch, [example], side)[0]

    def encode_all(
        self, texts: Sequence[str], seed: int, epoch: int, examples: Sequence[int], side: int
    ) -> list[list[int]]:
        """`encode` for many sentences, much faster: `texts[n]` is the sentence of example `examples[n]` >= 0."""
        sentences = [split_words(replace_reserved(text)) for text in texts]
        bits = iter(random_bits(seed, epoch, side, examples, [len(words) for words in sentences]))
        encoded: list[list[int]] = []
        empty: CachedWord = array("Q"), []
        for words in sentences:
            ids: list[int] = []
            for word, number in zip(words, bits, strict=False):
                bounds, segmentations = self._cache.get(word, empty)
                position = bisect_right(bounds, number)
                ids += segmentations[position >> 1] if position & 1 else self._sample(word, number)
            encoded.append(ids)
        return encoded

    def _sample(self, word: str, number: int) -> tuple[int, ...]:
        """Ids of a word; they are cached for the whole interval of numbers that gives them, if there is one."""
        coins = Coins(number)
        ids = self._ids(self._segment(SPACE + word, coins))
        if interval := coins.interval():
            self._cached += 1
            if self._cached > CACHE_SIZE:
                self._cache.clear()
                self._cached = 1
            bounds, segmentations = self._cache.setdefault(word, (array("Q"), []))
            position = bisect_right(bounds, number)
            bounds[position:position] = array("Q", interval)
            segmentations.insert(position >> 1, ids)
        return ids

    def _ids(self, pieces: list[str]) -> tuple[int, ...]:
        """Ids of pieces. A run of unknown characters becomes one unknown token, or bytes, as in sentencepiece."""
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
        """Pieces and unknown characters of a word, including its leading space."""


class BpeDropout(Sampler):
    """BPE-dropout (Provilkov et al. 2020, algorithm 1).

    At each step, every possible merge is dropped with probability `rate`, for this step only. Of the others, the one
    that BPE learnt first is performed, the leftmost if it occurs twice. If all are dropped, the word is finished.
    """

    def __init__(self, content: bytes, rate: float) -> None:
        super().__init__(content, rate)
        self._dropped = int(rate * 2**64)
        self._ranks = {piece: -score for piece, score in self._scores.items() if len(piece) > 1}

    def _segment(self, word: str, coins: Coins) -> list[str]:
        ranks, dropped, length = self._ranks, self._dropped, len(word)
        # The symbol that begins at i ends at ends[i]; the symbol before it begins at before[i].
        ends, before = [*range(1, length + 1), 0], [*range(-1, length)]
        # Possible merges (rank, start, end), the best first. One is stale if its two symbols no longer exist.
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
    """Subword regularization (Kudo 2018, section 3.2) over all segmentations: x has probability P(x)^alpha / sum, with
    alpha = `rate`. By forward filtering and backward sampling."""

    def __init__(self, content: bytes, rate: float) -> None:
        super().__init__(content, rate)
        # Decimal's exponential is correctly rounded on every platform, unlike those of C libraries.
        exponential = Context(prec=30).exp
        self._weights = {piece: float(exponential(Decimal(rate * score))) for piece, score in self._scores.items()}
        self._unknown = float(exponential(Decimal(rate * (min(self._scores.values()) - UNKNOWN_PENALTY))))
        self._longest = max(map(len, self._scores))
        self._lattices: dict[str, list[list[tuple[int, int]]]] = {}

    def _segment(self, word: str, coins: Coins) -> list[str]:
        lattice = self._lattices.get(word)
        if lattice is None:
            if len(self._lattices) >= CACHE_SIZE:
                self._lattices.clear()
            lattice = self._lattices[word] = self._lattice(word)
        pieces, end = [], len(word)
        while end:
            start = next(start for start, probability in lattice[end - 1] if coins.flip(probability))
            pieces.append(word[start:end])
            end = start
        return pieces[::-1]

    def _lattice(self, word: str) -> list[list[tuple[int, int]]]:
        """For each end 1, 2, ... the pieces that end there, the longest first: (start, 2**64 times the probability that
        the piece is chosen if no longer one is)."""
        lattice = []
        # growth[i] = F(i + 1) / F(i), where F(i) is the sum over the segmentations of the first i characters.
        growth: list[float] = []
        for end in range(1, len(word) + 1):
            pieces, total, forward = [], 0.0, 1.0  # forward = F(start) / F(end - 1), which does not underflow
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
