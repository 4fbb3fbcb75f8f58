"""Tokenizers whose tokens spell a text exactly, spaces and line breaks included."""

import unicodedata
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, cast

from transformer.data.normal_form import split_words
from transformer.data.tokenizers.tokenizer import Sentence, Tokenizer


class ReversibleTokenizer(Tokenizer):
    """`decode(encode(text))` is `normal(text)`, if the vocabulary lacks nothing of it."""

    def normal(self, text: str) -> str:
        """A text in the normal form; no character is reserved, and spaces stay."""
        return text if self.form == "none" else unicodedata.normalize(cast(Any, self.form.upper()), text)

    def segment_all(self, texts: Sequence[str]) -> list[Sentence]:
        """See `Tokenizer.segment_all`. A space belongs to the word that follows it, and at the end to the last."""
        normal = [self.normal(text) for text in texts]
        tokens = self._encode(normal, 0)
        return [Sentence(text, tuple(ids), self._words(text, ids)) for text, ids in zip(normal, tokens, strict=True)]

    @abstractmethod
    def _words(self, text: str, ids: Sequence[int]) -> tuple[int, ...]:
        """For each token of a text the number of its word."""


def word_numbers(text: str) -> tuple[int, ...]:
    """For each character the number of its word, which plain spaces separate."""
    last, numbers, begun = len(split_words(text)) - 1, list[int](), 0
    for before, one in zip(" " + text, text, strict=False):
        begun += one != " " and before == " "
        numbers.append(min(begun, last) if one == " " else begun - 1)
    return tuple(numbers)
