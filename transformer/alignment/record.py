"""The attention weights of one sentence pair.

Letters: L layers, H heads, S and T tokens of source and target, including the EOS tokens.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from transformer.data.tokenizers.tokenizer import Sentence, Tokenizer
from transformer.special_tokens import BOS, EOS, SPECIAL_TOKENS

KINDS = ("cross", "encoder", "decoder")
"""Kinds of attention: target to source, and the self-attention of each side."""


@dataclass(frozen=True)
class Side:
    """A sentence as words and as the tokens that a model reads or writes."""

    words: tuple[str, ...]
    """Separated by plain spaces in the text."""
    pieces: tuple[str, ...]
    """One string for each token; the EOS token is the last."""
    spans: tuple[int, ...]
    """For each token the number of its word; -1 for a special token."""

    @classmethod
    def of(cls, sentence: Sentence, tokenizer: Tokenizer) -> "Side":
        """A sentence, to whose tokens the EOS token is added."""
        pieces = tokenizer.pieces([*sentence.tokens, EOS])
        return cls(tuple(sentence.words), tuple(pieces), (*sentence.word_ids, -1))


@dataclass(frozen=True, repr=False)
class Attended:
    """One sentence pair with all its attention weights; None for kinds that the model lacks.

    Row t of `cross` and of `decoder` holds the weights of the step that predicts target token t. The columns of
    `decoder` are its inputs: the BOS token, then the target without its last token.
    """

    source: Side
    target: Side
    cross: Float[np.ndarray, "L H T S"] | None
    encoder: Float[np.ndarray, "L H S S"] | None = None
    decoder: Float[np.ndarray, "L H T T"] | None = None
    line: int = 0
    """Line number of the pair, from 1; 0: unknown."""

    def __repr__(self) -> str:
        kinds = [f"{kind} {list(self.matrix(kind).shape)}" for kind in KINDS if getattr(self, kind) is not None]
        sides = " -> ".join(repr(" ".join(side.words)) for side in (self.source, self.target))
        return f"<Attended {sides}: {', '.join(kinds)}>"

    def matrix(self, kind: str) -> Float[np.ndarray, "L H Q N"]:
        """The weights of one kind. Raises KeyError if the model has no such attention."""
        weights = {"cross": self.cross, "encoder": self.encoder, "decoder": self.decoder}[kind]
        if weights is None:
            raise KeyError(kind)
        return weights

    def sides(self, kind: str) -> tuple[Side, Side]:
        """The sides of the rows and of the columns of one kind."""
        if kind == "cross":
            return self.target, self.source
        if kind == "encoder":
            return self.source, self.source
        target = self.target
        return target, Side(target.words, (SPECIAL_TOKENS[BOS], *target.pieces[:-1]), (-1, *target.spans[:-1]))
