"""Lines of text in, translations in the same order out, over any model."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh

from transformer import config, parallel
from transformer.data.tokenizer import Tokenizers
from transformer.decoding.beam import beam_search, length_penalty
from transformer.decoding.greedy import greedy
from transformer.decoding.unknown import read_lexicon, spell
from transformer.marks import BEGIN, END, PAD, UNKNOWN

log = logging.getLogger(__name__)

LENGTHS = (8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
"""Source lengths that are compiled; a batch is padded to the next one."""


def padded(longest: int, limit: int) -> int:
    """The compiled length that a batch is padded to."""
    return min(next((length for length in LENGTHS if length >= longest), limit), limit)


class Hypothesis(NamedTuple):
    """A translation and its score: log-probability over length penalty; 0 for an empty line."""

    text: str
    score: float
    tokens: tuple[int, ...]
    """Without marks, as the search wrote them: another cut into pieces can spell the same text."""


class Translator:
    """Searches with a model's structure; the parameters come with every call, so that training can share it."""

    def __init__(self, graph: Any, tokenizers: Tokenizers, model: config.Model, mesh: Mesh):
        self.graph, self.tokenizers, self.mesh = graph, tokenizers, mesh
        self.max_length, self.reach = model.max_length, model.attention.reach
        self._search = jax.jit(self._search_batch, static_argnums=(3, 4, 5))
        self._attention = jax.jit(self._attention_of_batch)

    def translate(
        self, parameters: Any, lines: Sequence[str], settings: config.Decoding, first: int = 1
    ) -> list[Hypothesis]:
        """The best translation of each line; an empty line gives an empty one.

        Sources longer than the model's limit are cut to it, and the log says how many and which is the first,
        counted from `first`; and also how many are longer than its attention reaches.

        Raises TransformerError when `settings.lexicon` cannot be read.
        """
        lexicon = read_lexicon(Path(settings.lexicon)) if settings.lexicon else {}
        sources = [[*tokens, END] if tokens else [] for tokens in self.tokenizers.source.encode_all(lines)]
        long = [number for number, tokens in enumerate(sources, first) if len(tokens) > self.max_length]
        if long:
            log.warning(
                "%d line(s) longer than %d tokens were cut (the first is line %d)",
                len(long),
                self.max_length,
                long[0],
            )
            sources = [
                [*tokens[: self.max_length - 1], END] if len(tokens) > self.max_length else tokens for tokens in sources
            ]
        far = [number for number, tokens in enumerate(sources, first) if self.reach and len(tokens) > self.reach]
        if far:
            log.warning(
                "%d line(s) are longer than the %d tokens that location attention knows (--model.attention.positions); "
                "what is beyond gets no attention (the first is line %d)",
                len(far),
                self.reach,
                far[0],
            )
        found = [Hypothesis("", 0.0, ())] * len(sources)
        for ids, tokens, scores, weights in self._batches(parameters, sources, settings):
            for row, number in enumerate(ids):
                target = tuple(token for token in tokens[row].tolist() if token not in (PAD, END))
                if weights is None:
                    text = self.tokenizers.target.decode(target)
                else:
                    text = spell(lines[number], sources[number], target, weights[row], self.tokenizers, lexicon)
                # Byte fallback can spell a line break; a translation is one line.
                found[number] = Hypothesis(" ".join(text.split("\n")), float(scores[row]), target)
        return found

    def _batches(
        self, parameters: Any, sources: list[list[int]], settings: config.Decoding
    ) -> Iterator[tuple[list[int], np.ndarray, np.ndarray, np.ndarray | None]]:
        """Rows of `sources` that were searched together: their numbers, translations and scores; where unknown words
        are to be replaced, the attention too."""
        order = sorted((i for i, tokens in enumerate(sources) if tokens), key=lambda i: len(sources[i]))
        devices = self.mesh.size
        rows = -(-settings.batch // devices) * devices
        for first in range(0, len(order), rows):
            ids = order[first : first + rows]
            longest = len(sources[ids[-1]])
            S = padded(longest, self.max_length)
            source = np.zeros((rows, S), np.int32)
            limits = np.ones(rows, np.int32)
            for row, number in enumerate(ids):
                tokens = sources[number]
                source[row, : len(tokens)] = tokens
                limits[row] = self._limit(len(tokens), settings)
            batch = parallel.put_batch(self.mesh, (source, limits))
            tokens, scores = self._search(
                parameters, *batch, self._limit(S, settings), settings.beam, settings.length_penalty
            )
            weights = None
            if settings.replace_unknown and bool(jnp.any(tokens == UNKNOWN)):
                weights = np.asarray(self._attention(parameters, batch[0], tokens))
            yield ids, np.asarray(tokens), np.asarray(scores), weights

    def _limit(self, length: int, settings: config.Decoding) -> int:
        return min(int(settings.max_ratio * length) + settings.max_extra, self.max_length)

    def _search_batch(
        self, parameters: Any, source: jax.Array, limits: jax.Array, length: int, beam: int, alpha: float
    ) -> tuple[jax.Array, jax.Array]:
        model = nnx.merge(self.graph, parameters)
        memory = model.encode(source)
        if beam == 1:
            tokens, logp = greedy(model, memory, limits, length)
            return tokens, logp / length_penalty(jnp.sum(tokens != PAD, -1), alpha)
        tokens, scores = beam_search(model, memory, limits, length, beam, alpha)
        return tokens[:, 0], scores[:, 0]

    def _attention_of_batch(self, parameters: Any, source: jax.Array, tokens: jax.Array) -> jax.Array:
        """[B, T, S]: how much each token of a translation looks at the source, the mean of all layers and heads."""
        model = nnx.merge(self.graph, parameters)
        into = jnp.pad(tokens, ((0, 0), (1, 0)), constant_values=BEGIN)[:, :-1]
        _, attention = model.decode(model.encode(source), into, weights=True)
        return jnp.mean(attention.cross, (1, 2))
