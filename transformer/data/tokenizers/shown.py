"""How a tokenizer cuts a text: where each token is, and the merges of byte-pair encoding one by one."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate

from transformer.data.normal_form import split_words
from transformer.data.tokenizers.byte_bpe import WORDS, ByteBpeTokenizer, Pair, merge_steps, written
from transformer.data.tokenizers.characters import CharacterTokenizer
from transformer.data.tokenizers.subwords import SentencePieceTokenizer
from transformer.data.tokenizers.tokenizer import Tokenizer
from transformer.special_tokens import UNK

SPACE = "▁"
"""sentencepiece's symbol for a space, with which every word begins."""

Span = tuple[int, int]


def spans(tokenizer: Tokenizer, text: str) -> list[Span]:
    """For each token of `encode(text)` where it begins and ends in `normal(text)`, in characters, without the space
    before it. The bytes of a character all have its place."""
    text, ids = tokenizer.normal(text), tokenizer.encode(text)
    if isinstance(tokenizer, CharacterTokenizer):
        return [(place, place + 1) for place in range(len(text))]
    if isinstance(tokenizer, ByteBpeTokenizer):
        owner = [n for n, one in enumerate(text) for _ in range(len(one.encode("utf-8", "replace")))]
        ends = [0, *accumulate(map(len, tokenizer.pieces(ids)))]
        return [(owner[ends[n]], owner[ends[n + 1] - 1] + 1) for n in range(len(ids))]
    if isinstance(tokenizer, SentencePieceTokenizer):
        return list(_of_pieces(tokenizer, text, ids))
    return list(_of_words(text))


def _of_words(text: str) -> Iterator[Span]:
    end = 0
    for word in split_words(text):
        start = text.index(word, end)
        end = start + len(word)
        yield start, end


def _of_pieces(tokenizer: SentencePieceTokenizer, text: str, ids: Sequence[int]) -> Iterator[Span]:
    known = tokenizer.vocabulary
    place = left = 0  # of the character at `place` so many bytes are to come
    for id_, piece in zip(ids, tokenizer.pieces(ids), strict=True):
        start = place
        if piece.startswith(SPACE):
            while text[place : place + 1] == " ":
                place += 1
            start = start if piece == SPACE else place
            place += len(piece) - 1
        elif id_ == UNK:  # all unknown characters in a row are one token
            while place < len(text) and text[place] != " " and text[place] not in known:
                place += 1
        elif len(piece) == len("<0x00>") and piece.startswith("<0x"):
            left = (left or len(text[place].encode("utf-8", "replace"))) - 1
            place += left == 0
        else:
            place += len(piece)
        yield start, max(place, start + (left > 0))


def merges(tokenizer: Tokenizer, text: str) -> list[list[tuple[str, ...]]] | None:
    """For each distinct word of a text its pieces, first its characters and then after each merge; None for a tokenizer
    without merges (see the setting `kind`: sentencepiece models do not tell theirs)."""
    text = tokenizer.normal(text)
    if isinstance(tokenizer, ByteBpeTokenizer):
        words, ranks = [written(word) for word in WORDS.findall(text)], tokenizer.ranks
    elif isinstance(tokenizer, SentencePieceTokenizer):
        words, ranks = [SPACE + word for word in split_words(text)], _ranks(tokenizer.vocabulary)
    else:
        return None
    return [list(merge_steps(word, ranks)) for word in dict.fromkeys(words)]


def _ranks(vocabulary: Mapping[str, float]) -> dict[Pair, int]:
    """Every pair that spells a piece, by the order in which the pieces were learned: their scores are -0, -1, ..."""
    return {
        (piece[:cut], piece[cut:]): round(-score) for piece, score in vocabulary.items() for cut in range(1, len(piece))
    }
