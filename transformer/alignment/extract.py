"""Attention weights of given sentence pairs by teacher forcing, equal to those of the search that wrote the targets."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from transformer.alignment.record import Attended, Side
from transformer.data.tokenizers.tokenizer import Sentence, Tokenizers
from transformer.decoding.remarks import remark
from transformer.decoding.shapes import padded_length
from transformer.distributed import sharding as parallel
from transformer.models.interface import Model
from transformer.plurals import counted
from transformer.special_tokens import BOS, EOS

ROWS = 32
"""Sentence pairs in a batch."""


class Pair(NamedTuple):
    """A sentence and its translation."""

    source: Sentence
    target: Sentence


class Extractor:
    """Extracts attention weights with models that `build` makes from parameters; every call passes the parameters."""

    def __init__(self, build: Callable[[Any], Model], tokenizers: Tokenizers, mesh: Mesh, *, max_length: int):
        self.build, self.tokenizers, self.max_length, self.mesh = build, tokenizers, max_length, mesh
        self._attend = jax.jit(self._attend_batch)

    def extract(self, parameters: Any, pairs: Sequence[Pair], first: int = 1) -> list[Attended | None]:
        """The attention weights of each pair, in order.

        None for a pair with an empty side, and for one longer than the model's limit; both are remarked on (see
        `decoding.remarks`). `first` is the line number of the first pair.
        """
        lengths = [max(len(pair.source.tokens), len(pair.target.tokens)) + 1 for pair in pairs]
        long = [number for number, length in enumerate(lengths, first) if length > self.max_length]
        remark(f"omitted pairs longer than {counted(self.max_length, 'token')}", long)
        empty = [n for n, pair in enumerate(pairs, first) if not (pair.source.tokens and pair.target.tokens)]
        remark("omitted pairs with an empty side", empty)
        usable = [
            number
            for number, pair in enumerate(pairs)
            if lengths[number] <= self.max_length and pair.source.tokens and pair.target.tokens
        ]
        order = sorted(usable, key=lambda number: lengths[number])
        rows = parallel.padded_rows(self.mesh, ROWS)
        attended: list[Attended | None] = [None] * len(pairs)
        for start in range(0, len(order), rows):
            numbers = order[start : start + rows]
            longest = lengths[numbers[-1]]
            # Both sides are padded to the same length, so that few shapes are compiled.
            width = padded_length(longest, self.max_length)
            source, target = np.zeros((2, rows, width), np.int32)
            for row, number in enumerate(numbers):
                pair = pairs[number]
                source[row, : len(pair.source.tokens) + 1] = [*pair.source.tokens, EOS]
                target[row, : len(pair.target.tokens) + 1] = [BOS, *pair.target.tokens]
            weights = jax.tree.map(
                np.asarray, self._attend(parameters, *parallel.put_batch(self.mesh, (source, target)))
            )
            for row, number in enumerate(numbers):
                attended[number] = self._record(pairs[number], row, weights, first + number)
        return attended

    def _record(self, pair: Pair, row: int, weights: dict[str, np.ndarray], line: int) -> Attended:
        """The record of one pair: its row of the batch without padding."""
        S, T = len(pair.source.tokens) + 1, len(pair.target.tokens) + 1

        def cut(kind: str, rows: int, columns: int) -> np.ndarray | None:
            return weights[kind][row, :, :, :rows, :columns].copy() if kind in weights else None

        return Attended(
            Side.of(pair.source, self.tokenizers.source),
            Side.of(pair.target, self.tokenizers.target),
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
