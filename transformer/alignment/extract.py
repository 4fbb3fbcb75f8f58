"""The attention weights of given sentence pairs, by teacher forcing: the same as while they were written."""

import logging
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from transformer.alignment.record import Attended, Side
from transformer.data.tokenizers.tokenizer import Tokenizers
from transformer.decoding.engine import padded
from transformer.distributed import sharding as parallel
from transformer.models.config import SequenceToSequence
from transformer.models.interface import Model
from transformer.special_tokens import BOS, EOS

log = logging.getLogger(__name__)

ROWS = 32
"""Sentence pairs at a time."""


class Pair(NamedTuple):
    """A sentence and its translation, as text and as tokens without marks."""

    source: str
    target: str
    source_tokens: Sequence[int]
    target_tokens: Sequence[int]


class Extractor:
    """Collects attentions with models that `build` makes of parameters; those come with every call."""

    def __init__(self, build: Callable[[Any], Model], tokenizers: Tokenizers, model: SequenceToSequence, mesh: Mesh):
        self.build, self.tokenizers, self.max_length, self.mesh = build, tokenizers, model.max_length, mesh
        self._attend = jax.jit(self._attend_batch)

    def extract(self, parameters: Any, pairs: Sequence[Pair], first: int = 1) -> list[Attended | None]:
        """What the model looks at while it writes each translation, in order.

        None for a pair with an empty side, and for one longer than the model's limit; the log says how many of those
        there are, and which is the first, counted from `first`.
        """
        lengths = [max(len(pair.source_tokens), len(pair.target_tokens)) + 1 for pair in pairs]
        long = [number for number, length in enumerate(lengths, first) if length > self.max_length]
        if long:
            log.warning(
                "%d pair(s) longer than %d tokens were left out (the first is line %d)",
                len(long),
                self.max_length,
                long[0],
            )
        usable = [
            number
            for number, pair in enumerate(pairs)
            if lengths[number] <= self.max_length and pair.source_tokens and pair.target_tokens
        ]
        order = sorted(usable, key=lambda number: lengths[number])
        rows = parallel.padded_rows(self.mesh, ROWS)
        found: list[Attended | None] = [None] * len(pairs)
        for begin in range(0, len(order), rows):
            numbers = order[begin : begin + rows]
            longest = lengths[numbers[-1]]
            # Both sides of one length: a few shapes, not a few times a few.
            width = padded(longest, self.max_length)
            source, target = np.zeros((2, rows, width), np.int32)
            for row, number in enumerate(numbers):
                pair = pairs[number]
                source[row, : len(pair.source_tokens) + 1] = [*pair.source_tokens, EOS]
                target[row, : len(pair.target_tokens) + 1] = [BOS, *pair.target_tokens]
            weights = jax.tree.map(
                np.asarray, self._attend(parameters, *parallel.put_batch(self.mesh, (source, target)))
            )
            for row, number in enumerate(numbers):
                found[number] = self._cut(pairs[number], row, weights, first + number)
        return found

    def _cut(self, pair: Pair, row: int, weights: dict[str, np.ndarray], line: int) -> Attended:
        """The record of one pair: its row without the padding."""
        S, T = len(pair.source_tokens) + 1, len(pair.target_tokens) + 1

        def cut(kind: str, rows: int, columns: int) -> np.ndarray | None:
            return weights[kind][row, :, :, :rows, :columns].copy() if kind in weights else None

        return Attended(
            Side.of(pair.source_tokens, pair.source, self.tokenizers.source),
            Side.of(pair.target_tokens, pair.target, self.tokenizers.target),
            cut("cross", T, S),
            cut("encoder", S, S),
            cut("decoder", T, T),
            line,
        )

    def _attend_batch(self, parameters: Any, source: jax.Array, target_in: jax.Array) -> dict[str, jax.Array]:
        model = self.build(parameters)
        memory = model.encode(source, weights=True)
        _, attention = model.decode(memory, target_in, weights=True)
        every = {} if attention is None else attention._asdict()
        return {kind: values.astype(jnp.float32) for kind, values in every.items() if values is not None}
