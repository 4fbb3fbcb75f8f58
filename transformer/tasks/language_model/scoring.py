"""Log-probabilities of text, and the perplexities that they give."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float

from transformer.data.batching.buckets import Bucket
from transformer.data.examples import Examples
from transformer.data.normal_form import split_words
from transformer.distributed import sharding as parallel
from transformer.evaluation.measures import Counts, Measure, scores
from transformer.nn.losses import cross_entropy
from transformer.tasks.language_model.text import Batch, assemble


def exponential(counts: Float[np.ndarray, "*R 2"]) -> Float[np.ndarray, "*R"]:
    """exp(nats / units)."""
    mean: Float[np.ndarray, "*R"] = np.exp(np.minimum(counts[..., 0] / np.maximum(counts[..., 1], 1), 700))
    return mean


UNITS = {
    "perplexity": "exp(nats / tokens), end tokens counted",
    "per word": "exp(nats / words), words being what whitespace separates",
    "per character": "exp(nats / characters), spaces and line breaks counted, line ends not",
}
"""Perplexities, and what they are. `nats` is minus the log-probability of all tokens, end tokens included."""
MEASURES: Mapping[str, Measure] = {
    name: Measure(exponential, higher_is_better=False, low=1.0, high=math.inf) for name in UNITS
}


class TextScorer:
    """Scores with models that `build` makes from parameters; every call passes the parameters."""

    def __init__(self, build: Callable[[Any], Any], mesh: Mesh, chunk: int):
        def nll(parameters: Any, batch: Batch) -> jax.Array:
            model = build(parameters)
            hidden, _ = model.decode(model.without_source(len(batch.inputs)), batch.inputs)
            return cross_entropy(model.output, hidden, batch.outputs, chunk=chunk)[1]

        self._nll, self._mesh = jax.jit(nll, out_shardings=parallel.replicated(mesh)), mesh

    def score(
        self, parameters: Any, examples: Examples, plan: Sequence[tuple[Bucket, np.ndarray]]
    ) -> list[Float[np.ndarray, " T"]]:
        """The log-probability of every token of each example, in nats; `plan` is what `each_once` made of them."""
        lengths, found = examples["text"].lengths, [np.zeros(0)] * len(examples)
        for bucket, ids in plan:
            own = parallel.local_rows(self._mesh, parallel.padded_rows(self._mesh, bucket.rows))
            batch = parallel.put_batch(self._mesh, assemble(examples, bucket, ids, own))
            logp = -np.asarray(self._nll(parameters, batch), np.float64)
            for row, number in enumerate(ids):
                found[number] = logp[row, : lengths[number]]
        return found


def counts(texts: Sequence[str], logp: Sequence[Float[np.ndarray, " T"]]) -> dict[str, Float[np.ndarray, "N 2"]]:
    """Nats and units of each text, for the perplexities."""
    nats = np.array([-each.sum() for each in logp])
    units = {
        "perplexity": [len(each) for each in logp],
        "per word": [len(split_words(text.replace("\n", " "))) for text in texts],
        "per character": [len(text) for text in texts],
    }
    return {name: np.stack([nats, np.array(units[name], np.float64)], 1) for name in UNITS}


def perplexities(found: Counts) -> dict[str, dict[str, Any]]:
    """The perplexities with their intervals over texts, and what they are."""
    return {name: {**score, "signature": UNITS[name]} for name, score in scores(found, MEASURES).items()}
