"""The interface of tokenizers: text to tokens and back, and the words that the tokens belong to.

Ids 0 to 3 are the special tokens of every vocabulary. A text is first converted to the Unicode normal form of the
training text (--data.filter.normalize; none by default), and the few characters that sentencepiece reserves are
replaced (see `normal_form`). It is not changed otherwise: no lower-casing. A run of spaces counts as one. A model is
plain bytes (a protocol buffer of sentencepiece, or a list of words); nothing is unpickled.

Words are numbered in the text, never in the tokens; they are separated by plain spaces.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple

from transformer.data.normal_form import Form, normalize, replace_reserved, split_words
from transformer.special_tokens import BOS, EOS, PAD


class Sentence(NamedTuple):
    """A sentence as text and as tokens."""

    text: str
    tokens: tuple[int, ...]
    """Without special tokens at either end."""
    word_ids: tuple[int, ...]
    """For each token the number of the word of `text` that it is part of, from 0; -1 for none."""

    @property
    def words(self) -> list[str]:
        """The words that `word_ids` numbers."""
        return split_words(self.text)


class Tokenizer(ABC):
    """A fixed vocabulary of `size` entries, the special tokens included."""

    size: int
    suffix: str
    """Extension of the model's file."""
    content: bytes
    """The whole model; two tokenizers with equal content and form are equal."""
    form: Form = "none"
    """The Unicode normal form that every text is converted to first."""

    def encode(self, text: str) -> list[int]:
        """Ids of the tokens of a sentence, as a model reads them; `pieces` are the same tokens as text.

        The begin and the end token (ids 2 and 3) are not added. Text that the vocabulary lacks becomes the unknown
        token, id 1. An empty text gives an empty list.
        """
        return self._encode([self.normal(text)], 1)[0]

    def encode_all(self, texts: Sequence[str], threads: int = 0) -> list[list[int]]:
        """`encode` for many sentences; faster if the library can use threads (0: one for each core)."""
        return self._encode([self.normal(text) for text in texts], threads)

    @abstractmethod
    def _encode(self, texts: Sequence[str], threads: int) -> list[list[int]]:
        """`encode_all` for texts that `normal` returned."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.size:,} entries>"

    def __reduce__(self) -> tuple[Any, tuple[bytes, Form]]:
        """Pickles the content alone."""
        return type(self), (self.content, self.form)

    @abstractmethod
    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids, such as those that a model writes: the inverse of `encode`.

        Padding and the begin token are left out, and decoding stops at the end token. The ids may be numpy integers.
        """

    @abstractmethod
    def pieces(self, ids: Iterable[int]) -> list[str]:
        """The string of each id, special tokens included, for attention plots."""

    def normal(self, text: str) -> str:
        """A text as this tokenizer reads it: in the normal form, without reserved characters."""
        return replace_reserved(normalize(text, self.form))

    def split_words(self, text: str) -> list[str]:
        """The words of a text as this tokenizer reads it."""
        return split_words(self.normal(text))

    def segment(self, text: str) -> Sentence:
        """A given text as this tokenizer reads it: `tokens` are those of `encode`."""
        return self.segment_all([text])[0]

    def segment_all(self, texts: Sequence[str]) -> list[Sentence]:
        """`segment` for many sentences. No token crosses a space, so that words are tokenised one by one."""
        normal = [self.normal(text) for text in texts]
        sentences = [split_words(text) for text in normal]
        distinct = list(dict.fromkeys(chain.from_iterable(sentences)))
        tokens = dict(zip(distinct, self._encode(distinct, 0), strict=True))
        return [
            Sentence(
                text,
                tuple(id_ for word in words for id_ in tokens[word]),
                tuple(number for number, word in enumerate(words) for _ in tokens[word]),
            )
            for text, words in zip(normal, sentences, strict=True)
        ]

    def spell(self, tokens: Sequence[int]) -> Sentence:
        """The text that a model wrote as `tokens`, as one line.

        A token belongs to the word that it begins, or else to the word that it continues. One that is only a space
        belongs to the next word, and at the end to the last.
        """
        word_ids, before, text = [], 0, ""
        for end, token in enumerate(tokens, 1):
            if token in (PAD, BOS, EOS):
                word_ids.append(-1)
                continue
            text = as_line(self.decode(tokens[:end]))
            count = len(split_words(text))
            is_blank = count == before and (not text or text.endswith(" "))
            word_ids.append(before if count > before or is_blank else before - 1)
            before = count
        return Sentence(text, tuple(tokens), tuple(min(number, before - 1) for number in word_ids))


class Tokenizers(NamedTuple):
    """One for each side; the same object twice when the vocabulary is joint."""

    source: Tokenizer
    target: Tokenizer


def as_line(text: str) -> str:
    """A text as one line: bytes can spell a line break."""
    return " ".join(text.split("\n"))


def until_eos(ids: Iterable[int]) -> Iterator[int]:
    """The ids before the first EOS token, as plain integers."""
    for id_ in map(int, ids):
        if id_ == EOS:
            return
        yield id_
