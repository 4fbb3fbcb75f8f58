"""The interface of tokenizers: text to tokens and back, and the words that the tokens belong to.

Ids 0 to 3 are the special tokens of every vocabulary. A text is first converted to the Unicode normal form of the
training text (--data.filter.normalize; none by default) and not changed otherwise: no lower-casing. A run of spaces
counts as one. A model is plain bytes (a protocol buffer of sentencepiece, or a list of words); nothing is unpickled.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from transformer.data.corpora.filters import Form, normalize
from transformer.special_tokens import EOS


class Tokenizer(ABC):
    """A fixed vocabulary of `size` entries, the special tokens included."""

    size: int
    suffix: str
    """Extension of the model's file."""
    content: bytes
    """The whole model; two tokenizers with equal content and form are equal."""
    form: Form = "none"
    """The Unicode normal form that every text is converted to first."""

    @abstractmethod
    def encode(self, text: str) -> list[int]:
        """Ids of a sentence, without BOS and EOS tokens. An empty text gives an empty list."""

    def encode_all(self, texts: Sequence[str], threads: int = 0) -> list[list[int]]:
        """`encode` for many sentences; faster where the library can use threads (0: one for each core)."""
        return [self.encode(text) for text in texts]

    def __reduce__(self) -> tuple[Any, tuple[bytes, Form]]:
        """Pickles the content alone."""
        return type(self), (self.content, self.form)

    @abstractmethod
    def decode(self, ids: Iterable[int]) -> str:
        """Text of ids, which may be numpy integers. Padding and BOS are left out; decoding stops at EOS."""

    @abstractmethod
    def pieces(self, ids: Iterable[int]) -> list[str]:
        """The string of each id, special tokens included, as attention plots show it."""

    @abstractmethod
    def word_ids(self, ids: Iterable[int]) -> list[int]:
        """For each id, the number of the word that it belongs to, as `split_words` counts them; -1 for PAD, BOS and
        EOS, which belong to none."""

    def split_words(self, text: str) -> list[str]:
        """The words that `word_ids` numbers: separated by plain spaces alone, as French has other spaces within its
        words."""
        return [word for word in normalize(text, self.form).split(" ") if word]


class Tokenizers(NamedTuple):
    """One for each side; the same object twice when the vocabulary is joint."""

    source: Tokenizer
    target: Tokenizer


def until_eos(ids: Iterable[int]) -> Iterator[int]:
    """The ids before the first EOS token, as plain integers."""
    for id_ in map(int, ids):
        if id_ == EOS:
            return
        yield id_
