"""Labels as a vocabulary: each is one token, and the labels are all that there is."""

from collections.abc import Iterable, Sequence

from transformer.data.normal_form import replace_reserved
from transformer.data.tokenizers.whole_words import WordTokenizer
from transformer.errors import TransformerError
from transformer.special_tokens import SPECIAL_TOKENS, UNK


class LabelTokenizer(WordTokenizer):
    """One token for each label, which may have spaces; a label that was not trained on becomes the unknown token."""

    suffix = ".labels"

    def _encode(self, texts: Sequence[str], threads: int) -> list[list[int]]:
        return [[self._ids.get(text.strip(), UNK)] for text in texts]

    @property
    def labels(self) -> list[str]:
        """In alphabetical order; label n has the id n + 4."""
        return self._words[len(SPECIAL_TOKENS) :]

    @classmethod
    def of(cls, lines: Iterable[str]) -> "LabelTokenizer":
        """The labels that occur, in alphabetical order.

        Raises:
            TransformerError: there are fewer than 2, or one is empty or a special token.
        """
        labels = sorted({replace_reserved(line).strip() for line in lines})
        if len(labels) < 2:
            raise TransformerError(f"the training text has one label only ({' '.join(labels)}): nothing to learn")
        if wrong := {"", *SPECIAL_TOKENS} & {*labels}:
            raise TransformerError(f"{min(wrong)!r} is no label: each line of the labels' file names one")
        return cls("\n".join([*SPECIAL_TOKENS, *labels, ""]).encode("utf-8"))
