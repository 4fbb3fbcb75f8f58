"""Byte-level byte-pair encoding, as GPT-2 has it: every text is encoded, and decoded as it was.

A text is cut into words with the space before them, numbers, punctuation and white space. Within each, bytes are merged
in the order in which the merges were learned (Radford et al. 2019, section 2.2; Sennrich et al. 2016). Bytes are
written as printable characters: "Ġ" is a space, "Ċ" a line break.
"""

import heapq
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise

import regex

from transformer.data import config
from transformer.data.normal_form import Form
from transformer.data.tokenizers.reversible import ReversibleTokenizer, word_numbers
from transformer.data.tokenizers.tokenizer import until_eos
from transformer.errors import TransformerError
from transformer.special_tokens import BOS, PAD, SPECIAL_TOKENS, UNK

WORDS = regex.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")
"""GPT-2's: contractions, letters, digits, others, white space; the last space before a word belongs to the word."""
BYTES = 256
CACHED_WORDS = 1 << 16

Pair = tuple[str, str]


def _printable() -> list[str]:
    """The character for each byte: itself where it is printable, otherwise one from U+0100 on."""
    plain = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    others = iter(range(BYTES, 2 * BYTES))
    return [chr(byte if byte in plain else next(others)) for byte in range(BYTES)]


CHARACTERS = _printable()
_BYTE = {character: byte for byte, character in enumerate(CHARACTERS)}


def written(text: str) -> str:
    """The UTF-8 bytes of a text as printable characters. A lone surrogate, which is no text, becomes "?"."""
    return "".join(CHARACTERS[byte] for byte in text.encode("utf-8", "replace"))


def merge_steps(word: str, ranks: Mapping[Pair, int]) -> Iterator[tuple[str, ...]]:
    """The pieces of a word, first its characters and then after each merge.

    At every step all occurrences of the adjacent pair that was learned first are merged, from left to right.
    """
    pieces = tuple(word)
    yield pieces
    while len(pieces) > 1:
        best = min(pairwise(pieces), key=lambda pair: ranks.get(pair, len(ranks)))
        if best not in ranks:
            return
        pieces = _merged(pieces, best)
        yield pieces


def learn_merges(counts: Mapping[str, int], number: int) -> list[Pair]:
    """The `number` merges, or fewer, of a corpus of words with their counts: each time the most frequent pair.

    Ties go to the pair seen first.
    """
    words = [(tuple(word), count) for word, count in counts.items()]
    totals, places = Counter[Pair](), defaultdict[Pair, set[int]](set)
    order: dict[Pair, int] = {}

    def count(index: int, sign: int) -> set[Pair]:
        pieces, times = words[index]
        for pair in pairwise(pieces):
            totals[pair] += sign * times
            order.setdefault(pair, len(order))
            places[pair].add(index)
        return set(pairwise(pieces))

    for index in range(len(words)):
        count(index, 1)
    heap = [(-total, order[pair], pair) for pair, total in totals.items()]
    heapq.heapify(heap)
    merges: list[Pair] = []
    while heap and len(merges) < number:
        negative, _, pair = heapq.heappop(heap)
        if totals[pair] != -negative or not negative:
            continue  # a later entry has its count
        merges.append(pair)
        changed = set[Pair]()
        for index in sorted(places.pop(pair)):
            changed |= count(index, -1)
            words[index] = _merged(words[index][0], pair), words[index][1]
            changed |= count(index, 1)
        for other in changed:
            if totals[other] > 0:
                heapq.heappush(heap, (-totals[other], order[other], other))
    return merges


def _merged(pieces: tuple[str, ...], pair: Pair) -> tuple[str, ...]:
    found, place = [], 0
    while place < len(pieces):
        both = pieces[place : place + 2] == pair
        found.append(pair[0] + pair[1] if both else pieces[place])
        place += 1 + both
    return tuple(found)


class ByteBpeTokenizer(ReversibleTokenizer):
    """Special tokens, the bytes, and the merges in their order; nothing is unknown."""

    suffix = ".byte_bpe"

    def __init__(self, content: bytes, form: Form = "none") -> None:
        """`content`: JSON, `pieces` (special tokens first) and `merges` (pairs of pieces, in their order). Raises
        TransformerError for anything else."""
        self.content, self.form = content, form
        try:
            about = json.loads(content)
            self._pieces: list[str] = about["pieces"]
            merges = [(first, second) for first, second in about["merges"]]
            self._ids = {piece: id_ for id_, piece in enumerate(self._pieces) if id_ >= len(SPECIAL_TOKENS)}
            wrong = tuple(self._pieces[: len(SPECIAL_TOKENS)]) != SPECIAL_TOKENS
            wrong |= not self._ids.keys() >= {*CHARACTERS, *(first + second for first, second in merges)}
            wrong |= not all(set(piece) <= _BYTE.keys() for piece in self._ids)
        except (ValueError, TypeError, KeyError):
            wrong = True
        if wrong:
            raise TransformerError("not a byte-level BPE: it lacks special tokens, bytes or the pieces of its merges")
        self.ranks = {pair: rank for rank, pair in enumerate(dict.fromkeys(merges))}
        self.size = len(self._pieces)
        self._word = lru_cache(CACHED_WORDS)(self._encode_word)

    @classmethod
    def of_gpt2(cls, vocabulary: Mapping[str, int], merges: str) -> "ByteBpeTokenizer":
        """Of the content of GPT-2's vocab.json and merges.txt. Ids are 4 above GPT-2's, as special tokens come first;
        its own (<|endoftext|>) is left out."""
        pairs = [line.split(" ") for line in merges.split("\n") if line and not line.startswith("#version")]
        known = sorted((id_, piece) for piece, id_ in vocabulary.items() if set(piece) <= _BYTE.keys())
        pieces = [piece for _, piece in known if piece != "<|endoftext|>"]
        return cls(json.dumps({"pieces": [*SPECIAL_TOKENS, *pieces], "merges": pairs}).encode())

    def gpt2_files(self) -> tuple[dict[str, int], str]:
        """The inverse of `of_gpt2`: the content of vocab.json, with <|endoftext|> last, and of merges.txt."""
        vocabulary = {piece: id_ - len(SPECIAL_TOKENS) for piece, id_ in self._ids.items()}
        vocabulary["<|endoftext|>"] = len(vocabulary)
        pairs = "".join(f"{first} {second}\n" for first, second in self.ranks)
        return vocabulary, f"#version: 0.2\n{pairs}"

    def _encode(self, texts: Sequence[str], threads: int) -> list[list[int]]:
        return [[id_ for word in WORDS.findall(text) for id_ in self._word(word)] for text in texts]

    def _encode_word(self, word: str) -> tuple[int, ...]:
        *_, pieces = merge_steps(written(word), self.ranks)
        return tuple(self._ids[piece] for piece in pieces)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of pieces up to the first end token; padding and begin tokens are left out. Bytes that are not valid
        UTF-8, and the unknown token, give U+FFFD."""
        kept = (id_ for id_ in until_eos(ids) if id_ not in (PAD, BOS))
        spelt = b"".join(
            b"\xef\xbf\xbd" if id_ == UNK else bytes(_BYTE[one] for one in self._pieces[id_]) for id_ in kept
        )
        return spelt.decode("utf-8", "replace")

    def pieces(self, ids: Iterable[int]) -> list[str]:
        """Bytes as printable characters: "Ġ" is a space."""
        return [self._pieces[id_] for id_ in ids]

    def _words(self, text: str, ids: Sequence[int]) -> tuple[int, ...]:
        """A token belongs to the word of its last byte."""
        numbers = [
            number
            for number, character in zip(word_numbers(text), text, strict=True)
            for _ in range(len(character.encode("utf-8", "replace")))
        ]
        ends, end = [], 0
        for id_ in ids:
            end += len(self._pieces[id_])
            ends.append(numbers[end - 1])
        return tuple(ends)

    @classmethod
    def train(cls, settings: config.Tokenizer, sentences: Iterable[str]) -> "ByteBpeTokenizer":
        """Learn merges until the vocabulary is full; the same text gives the same merges.

        Raises:
            TransformerError: the vocabulary has no room for the bytes, or there is no text.
        """
        smallest = len(SPECIAL_TOKENS) + BYTES
        if settings.vocabulary < smallest:
            raise TransformerError(
                f"--tokenizer.vocabulary={settings.vocabulary} is too small for byte_bpe: the smallest that works is "
                f"{smallest} (the special tokens and 256 bytes)"
            )
        counts = Counter(word for sentence in sentences for word in WORDS.findall(sentence))
        if not counts:
            raise TransformerError("there is no text to train a tokenizer on")
        spelt = {written(word): count for word, count in counts.items()}
        # GPT-2's order of the bytes: printable ones first.
        pieces = [*SPECIAL_TOKENS, *sorted(CHARACTERS)]
        known, merges = set(pieces), learn_merges(spelt, settings.vocabulary - smallest)
        for first, second in merges:
            if first + second not in known:  # two pairs may spell one piece
                known.add(first + second)
                pieces.append(first + second)
        return cls(json.dumps({"pieces": pieces, "merges": merges}).encode())
