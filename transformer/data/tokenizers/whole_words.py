"""Whole-word tokenizers: the most frequent words, split at spaces."""

from collections import Counter
from collections.abc import Iterable, Sequence

from transformer.data import config
from transformer.data.normal_form import Form, replace_reserved, split_words
from transformer.data.tokenizers.tokenizer import Tokenizer, until_eos
from transformer.errors import TransformerError
from transformer.special_tokens import BOS, PAD, SPECIAL_TOKENS, UNK


class WordTokenizer(Tokenizer):
    """Whole words, split at spaces; a word outside the vocabulary becomes the unknown token."""

    suffix = ".vocabulary"

    def __init__(self, content: bytes, form: Form = "none") -> None:
        """`content`: UTF-8, one word per line, the special tokens first. Raises TransformerError for anything else."""
        self.content, self.form = content, form
        try:
            self._words = content.decode("utf-8").removesuffix("\n").split("\n")
        except UnicodeDecodeError:
            raise TransformerError("not a vocabulary: it is not UTF-8") from None
        if tuple(self._words[: len(SPECIAL_TOKENS)]) != SPECIAL_TOKENS:
            raise TransformerError(f"not a vocabulary: it does not begin with {' '.join(SPECIAL_TOKENS)}")
        self._ids = {word: id_ for id_, word in enumerate(self._words) if id_ >= len(SPECIAL_TOKENS)}
        self.size = len(self._words)

    def _encode(self, texts: Sequence[str], threads: int) -> list[list[int]]:
        return [[self._ids.get(word, UNK) for word in split_words(text)] for text in texts]

    def decode(self, ids: Iterable[int]) -> str:
        """The words up to the first end token, separated by spaces; padding and begin tokens are left out.

        An unknown word is decoded as "<unk>".
        """
        return " ".join(self._words[id_] for id_ in until_eos(ids) if id_ not in (PAD, BOS))

    def pieces(self, ids: Iterable[int]) -> list[str]:
        """The words."""
        return [self._words[id_] for id_ in ids]

    @classmethod
    def train(cls, settings: config.Tokenizer, sentences: Iterable[str]) -> "WordTokenizer":
        """Choose the most frequent words; ties are broken alphabetically.

        Raises:
            TransformerError: the vocabulary has no room for a word, or there is no text.
        """
        counts = Counter(word for sentence in sentences for word in split_words(replace_reserved(sentence)))
        if not counts:
            raise TransformerError("there is no text to train a tokenizer on")
        if settings.vocabulary <= len(SPECIAL_TOKENS):
            raise TransformerError(
                f"--tokenizer.vocabulary={settings.vocabulary} is too small: the smallest that works is "
                f"{len(SPECIAL_TOKENS) + 1} (the special tokens and a word)"
            )
        frequent = (word for word, count in counts.items() if count >= settings.min_count)
        usable = (word for word in frequent if word not in SPECIAL_TOKENS and "\n" not in word)
        words = sorted(usable, key=lambda word: (-counts[word], word))[: settings.vocabulary - len(SPECIAL_TOKENS)]
        return cls("\n".join([*SPECIAL_TOKENS, *words, ""]).encode("utf-8"))
