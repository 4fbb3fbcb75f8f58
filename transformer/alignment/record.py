"""The attention weights of one sentence pair, and other read-outs of it.

Letters: L layers, H heads, S and T tokens of source and target, including the EOS tokens.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

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
    readouts: Mapping[str, Float[np.ndarray, "L H T S"]] = field(default_factory=dict)
    """Other matrices from target to source by name, see `alignment.readouts.names`; each row sums to 1 or is zero."""

    def __repr__(self) -> str:
        kinds = [f"{kind} {list(self.matrix(kind).shape)}" for kind in self.kinds]
        sides = " -> ".join(repr(" ".join(side.words)) for side in (self.source, self.target))
        return f"<Attended {sides}: {', '.join(kinds)}>"

    @property
    def kinds(self) -> tuple[str, ...]:
        """The names that `matrix` accepts: kinds of attention, and read-outs."""
        return (*(kind for kind in KINDS if getattr(self, kind) is not None), *self.readouts)

    def matrix(self, kind: str) -> Float[np.ndarray, "L H Q N"]:
        """The weights of one kind, or a read-out. Raises KeyError if the pair has no such matrix."""
        weights = self.readouts[kind] if kind not in KINDS else getattr(self, kind)
        if weights is None:
            raise KeyError(kind)
        return weights

    def sides(self, kind: str) -> tuple[Side, Side]:
        """The sides of the rows and of the columns of one kind."""
        if kind == "encoder":
            return self.source, self.source
        target = self.target
        if kind != "decoder":
            return target, self.source
        return target, Side(target.words, (SPECIAL_TOKENS[BOS], *target.pieces[:-1]), (-1, *target.spans[:-1]))
