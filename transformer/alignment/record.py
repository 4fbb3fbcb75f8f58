"""What a model looked at while it wrote one translation.

Letters: L layers, H heads, S and T tokens of source and target, the end marks included.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from transformer.data.tokenizers.tokenizer import Tokenizer
from transformer.special_tokens import BOS, EOS, SPECIAL_TOKENS

KINDS = ("cross", "encoder", "decoder")
"""The attentions of a model: of the target to the source, and of each to itself."""


@dataclass(frozen=True)
class Side:
    """A sentence as words and as the tokens that a model reads or writes."""

    words: tuple[str, ...]
    """Parted by plain spaces."""
    pieces: tuple[str, ...]
    """One string a token; the end mark is the last."""
    spans: tuple[int, ...]
    """For each token the number of its word; -1 for a mark."""

    @classmethod
    def of(cls, tokens: Sequence[int], text: str, tokenizer: Tokenizer) -> "Side":
        """A text and its tokens, to which the end mark is added.

        A text that has not as many words as its tokens (an unknown token within one is spelled apart) is shown word by
        word as the tokens spell it.
        """
        every = [*tokens, EOS]
        spans, words = tokenizer.word_ids(every), tokenizer.split_words(text)
        count = max(spans) + 1
        if len(words) != count:
            of = [[token for token, span in zip(every, spans, strict=True) if span == word] for word in range(count)]
            words = [tokenizer.decode(own).strip() for own in of]
        return cls(tuple(words), tuple(tokenizer.pieces(every)), tuple(spans))


@dataclass(frozen=True)
class Attended:
    """One sentence pair with all its attention weights. A model may lack one kind or another.

    Row t of `cross` and of `decoder` is what the model looked at when it wrote target token t. Columns of `decoder` are
    what it had read by then: the begin mark, and then the target but its last token.
    """

    source: Side
    target: Side
    cross: Float[np.ndarray, "L H T S"] | None
    encoder: Float[np.ndarray, "L H S S"] | None = None
    decoder: Float[np.ndarray, "L H T T"] | None = None
    line: int = 0
    """Where the pair comes from, from 1; 0: unknown."""

    def matrix(self, kind: str) -> Float[np.ndarray, "L H Q N"]:
        """The weights of one kind. Raises KeyError where the model has no such attention."""
        found = {"cross": self.cross, "encoder": self.encoder, "decoder": self.decoder}[kind]
        if found is None:
            raise KeyError(kind)
        return found

    def sides(self, kind: str) -> tuple[Side, Side]:
        """What the rows and the columns of one kind are."""
        if kind == "cross":
            return self.target, self.source
        if kind == "encoder":
            return self.source, self.source
        target = self.target
        return target, Side(target.words, (SPECIAL_TOKENS[BOS], *target.pieces[:-1]), (-1, *target.spans[:-1]))
