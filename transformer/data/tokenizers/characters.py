"""A tokenizer of single characters, spaces and line breaks included: `decode(encode(text))` is the text."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence

from transformer.data import config
from transformer.data.normal_form import Form
from transformer.data.tokenizers.reversible import ReversibleTokenizer, word_numbers
from transformer.data.tokenizers.tokenizer import until_eos
from transformer.errors import TransformerError
from transformer.special_tokens import BOS, PAD, SPECIAL_TOKENS, UNK


class CharacterTokenizer(ReversibleTokenizer):
    """Each character is a token; one outside the vocabulary becomes the unknown token."""

    suffix = ".characters"

    def __init__(self, content: bytes, form: Form = "none") -> None:
        """`content`: a JSON list, the special tokens and then one character each. Raises TransformerError for anything
        else."""
        self.content, self.form = content, form
        try:
            self._pieces = json.loads(content)
            special, characters = self._pieces[: len(SPECIAL_TOKENS)], self._pieces[len(SPECIAL_TOKENS) :]
            valid = tuple(special) == SPECIAL_TOKENS and all(len(one) == 1 for one in characters)
        except (ValueError, TypeError, KeyError):
            valid = False
        if not valid:
            raise TransformerError("not a vocabulary of characters")
        self._ids = {one: id_ for id_, one in enumerate(self._pieces) if id_ >= len(SPECIAL_TOKENS)}
        self.size = len(self._pieces)

    def _encode(self, texts: Sequence[str], threads: int) -> list[list[int]]:
        return [[self._ids.get(one, UNK) for one in text] for text in texts]

    def decode(self, ids: Iterable[int]) -> str:
        """The characters up to the first end token; padding and begin tokens are left out. An unknown character is
        decoded as U+FFFD."""
        kept = (id_ for id_ in until_eos(ids) if id_ not in (PAD, BOS))
        return "".join("\ufffd" if id_ == UNK else self._pieces[id_] for id_ in kept)

    def pieces(self, ids: Iterable[int]) -> list[str]:
        """The characters."""
        return [self._pieces[id_] for id_ in ids]

    def _words(self, text: str, ids: Sequence[int]) -> tuple[int, ...]:
        return word_numbers(text)

    @classmethod
    def train(cls, settings: config.Tokenizer, sentences: Iterable[str]) -> "CharacterTokenizer":
        """The most frequent characters; ties are broken by code point.

        Raises:
            TransformerError: the vocabulary has no room for a character, or there is no text.
        """
        counts = Counter[str]()
        for sentence in sentences:
            counts.update(sentence)
        if not counts:
            raise TransformerError("there is no text to train a tokenizer on")
        if settings.vocabulary <= len(SPECIAL_TOKENS):
            raise TransformerError(
                f"--tokenizer.vocabulary={settings.vocabulary} is too small: the smallest that works is "
                f"{len(SPECIAL_TOKENS) + 1} (the special tokens and a character)"
            )
        frequent = sorted(counts, key=lambda one: (-counts[one], one))[: settings.vocabulary - len(SPECIAL_TOKENS)]
        return cls(json.dumps([*SPECIAL_TOKENS, *sorted(frequent)]).encode())
