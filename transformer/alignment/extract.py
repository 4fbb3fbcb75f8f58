"""Attention weights and read-outs of given pairs by teacher forcing; the weights equal those of the search."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from tqdm import tqdm

from transformer.alignment.readouts import table
from transformer.alignment.readouts.names import WEIGHTS, check_names
from transformer.alignment.readouts.table import Batch
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
        self._attend = jax.jit(self._attend_batch, static_argnums=0)

    def extract(
        self, parameters: Any, pairs: Sequence[Pair], first: int = 1, by: Sequence[str] = ()
    ) -> list[Attended | None]:
        """The attention weights of each pair, in order, and read-outs of it.

        None for a pair with an empty side, and for one longer than the model's limit; both are remarked on (see
        `decoding.remarks`).

        Args:
            parameters: of the model.
            pairs: sentences and their translations.
            first: the line number of the first pair.
            by: names of read-outs, see `alignment.readouts.names`.

        Raises UsageError for a read-out that does not exist, or that the model does not have.
        """
        check_names(by)
        names = tuple(name for name in dict.fromkeys(by) if name != WEIGHTS)
        attend = partial(self._attend, names)
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
        starts = range(0, len(order), rows)
        # Weights alone are fast; a read-out may take a backward pass for each target token.
        silent = None if names else True
        for start in tqdm(starts, "read-outs", unit="batch", delay=2, leave=False, dynamic_ncols=True, disable=silent):
            numbers = order[start : start + rows]
            longest = lengths[numbers[-1]]
            # Both sides are padded to the same length, so that few shapes are compiled.
            width = padded_length(longest, self.max_length)
            batch = _batch([pairs[number] for number in numbers], rows, width)
            weights = jax.tree.map(np.asarray, attend(parameters, parallel.put_batch(self.mesh, batch)))
            for row, number in enumerate(numbers):
                attended[number] = self._record(pairs[number], row, weights, names, first + number)
        return attended

    def _record(self, pair: Pair, row: int, weights: dict[str, np.ndarray], by: Sequence[str], line: int) -> Attended:
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
            {name: weights[name][row, :, :, :T, :S].copy() for name in by},
        )

    def _attend_batch(self, by: tuple[str, ...], parameters: Any, batch: Batch) -> dict[str, jax.Array]:
        model = self.build(parameters)
        memory = model.encode(batch.source, weights=True)
        _, attention = model.decode(memory, batch.target_in, weights=True)
        every = {} if attention is None else attention._asdict()
        every = {kind: values for kind, values in every.items() if values is not None}
        return jax.tree.map(lambda values: values.astype(jnp.float32), every | table.compute(model, by, batch))


def _batch(pairs: Sequence[Pair], rows: int, width: int) -> Batch:
    """Pairs as arrays of so many rows."""
    arrays: Any = np.zeros((4, rows, width), np.int32)
    source, units, target_in, target_out = arrays
    units -= 1
    for row, pair in enumerate(pairs):
        S, T = len(pair.source.tokens) + 1, len(pair.target.tokens) + 1
        source[row, :S] = [*pair.source.tokens, EOS]
        units[row, :S] = [*pair.source.word_ids, max(pair.source.word_ids) + 1]
        target_in[row, :T] = [BOS, *pair.target.tokens]
        target_out[row, :T] = [*pair.target.tokens, EOS]
    return Batch(source, units, target_in, target_out)
