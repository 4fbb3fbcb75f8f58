"""Attention weights and read-outs of given pairs by teacher forcing; the weights equal those of the search."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from tqdm import tqdm

from transformer.alignment.links import Links, Rule, align
from transformer.alignment.readouts import table
from transformer.alignment.readouts.names import WEIGHTS, check_names
from transformer.alignment.readouts.table import Batch
from transformer.alignment.record import KINDS, Attended, Side
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
        self._attend = jax.jit(self._attend_batch, static_argnums=(0, 1))

    def extract(
        self, parameters: Any, pairs: Sequence[Pair], first: int = 1, by: Sequence[str] = ()
    ) -> list[Attended | None]:
        """The attention weights of each pair, in order, and read-outs of it.

        None for a pair with an empty side, and for one longer than the model's limit; both are reported (see
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
        attended: list[Attended | None] = [None] * len(pairs)
        for numbers, weights in self._batches(parameters, pairs, first, names, KINDS):
            for row, number in enumerate(numbers):
                cut = self._cut(pairs[number], row, weights)
                matrices = {kind: values.copy() for kind, values in cut.items()}
                cross, encoder, decoder = (matrices.pop(kind, None) for kind in KINDS)
                attended[number] = Attended(
                    Side.of(pairs[number].source, self.tokenizers.source),
                    Side.of(pairs[number].target, self.tokenizers.target),
                    cross,
                    encoder,
                    decoder,
                    first + number,
                    {name: matrices[name] for name in names},
                )
        return attended

    def links(self, parameters: Any, pairs: Sequence[Pair], rule: Rule, first: int = 1) -> list[Links | None]:
        """The links of each pair under a rule, in order. Only the matrices of the rule's own read-out are computed, and
        none is kept, so that a corpus of any size can be aligned.

        None for the pairs that `extract` leaves out. Raises UsageError like it, and for a layer or a head that the
        read-out does not have.
        """
        check_names([rule.by])
        names, kinds = ((), ("cross",)) if rule.by == WEIGHTS else ((rule.by,), ())
        found: list[Links | None] = [None] * len(pairs)
        for numbers, weights in self._batches(parameters, pairs, first, names, kinds):
            for row, number in enumerate(numbers):
                matrices = self._cut(pairs[number], row, weights)
                source, target = (Side((), (), (*side.word_ids, -1)) for side in pairs[number])
                record = Attended(source, target, matrices.pop("cross", None), readouts=matrices)
                found[number] = align(record, rule)[1]
        return found

    def _batches(
        self, parameters: Any, pairs: Sequence[Pair], first: int, by: tuple[str, ...], kinds: tuple[str, ...]
    ) -> Iterator[tuple[list[int], dict[str, np.ndarray]]]:
        """The numbers of the pairs of each batch, and its matrices [B, L, H, T, S] by name."""
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
        # Weights alone are fast; a read-out may take a backward pass for each target token.
        for numbers, batch in batches(pairs, usable, self.mesh, self.max_length, "read-outs" if by else ""):
            yield numbers, jax.tree.map(np.asarray, self._attend(by, kinds, parameters, batch))

    def _cut(self, pair: Pair, row: int, weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The matrices of one pair without padding: views of its row of the batch."""
        S, T = len(pair.source.tokens) + 1, len(pair.target.tokens) + 1
        sizes = {"encoder": (S, S), "decoder": (T, T)}
        cut = {}
        for kind, values in weights.items():
            height, width = sizes.get(kind, (T, S))
            cut[kind] = values[row, :, :, :height, :width]
        return cut

    def _attend_batch(
        self, by: tuple[str, ...], kinds: tuple[str, ...], parameters: Any, batch: Batch
    ) -> dict[str, jax.Array]:
        model, every = self.build(parameters), {}
        if kinds:
            memory = model.encode(batch.source, weights="encoder" in kinds)
            _, attention = model.decode(memory, batch.target_in, weights=True)
            if attention is not None:
                every = {kind: getattr(attention, kind) for kind in kinds if getattr(attention, kind) is not None}
        return jax.tree.map(lambda values: values.astype(jnp.float32), every | table.compute(model, by, batch))


def batches(
    pairs: Sequence[Pair], numbers: Sequence[int], mesh: Mesh, max_length: int, what: str = ""
) -> Iterator[tuple[list[int], Batch]]:
    """Batches of pairs by length, on the devices, each with the numbers of its pairs.

    Args:
        pairs: sentences and their translations.
        numbers: which of them.
        mesh: of devices, over which the rows are divided.
        max_length: of the model in tokens, which no pair exceeds.
        what: the label of a progress bar; no bar without it.
    """
    lengths = {n: max(len(pairs[n].source.tokens), len(pairs[n].target.tokens)) + 1 for n in numbers}
    order, rows = sorted(numbers, key=lengths.__getitem__), parallel.padded_rows(mesh, ROWS)
    starts, silent = range(0, len(order), rows), None if what else True
    for start in tqdm(starts, what, unit="batch", delay=2, leave=False, dynamic_ncols=True, disable=silent):
        own = order[start : start + rows]
        # Both sides are padded to the same length, so that few shapes are compiled.
        width = padded_length(lengths[own[-1]], max_length)
        yield own, parallel.put_batch(mesh, _batch([pairs[number] for number in own], rows, width))


def _batch(pairs: Sequence[Pair], rows: int, width: int) -> Batch:
    """Pairs as arrays with this many rows."""
    arrays: Any = np.zeros((4, rows, width), np.int32)
    source, units, target_in, target_out = arrays
    units -= 1
    for row, pair in enumerate(pairs):
        S, T = len(pair.source.tokens) + 1, len(pair.target.tokens) + 1
        source[row, :S] = [*pair.source.tokens, EOS]
        units[row, :S] = [*pair.source.word_ids, max(pair.source.word_ids, default=-1) + 1]
        target_in[row, :T] = [BOS, *pair.target.tokens]
        target_out[row, :T] = [*pair.target.tokens, EOS]
    return Batch(source, units, target_in, target_out)
