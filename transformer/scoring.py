"""Log-probabilities of given translations, by teacher forcing: validation loss, perplexity, and scores."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import nnx
from jax.sharding import Mesh

from transformer import parallel
from transformer.data import batches
from transformer.data.batches import Batch, Bucket
from transformer.data.examples import Examples
from transformer.errors import TransformerError
from transformer.losses import cross_entropy


class SentenceScores(NamedTuple):
    """One number a sentence, in the order of the examples."""

    logp: np.ndarray
    """[N] log-probability of the target, end mark included, in nats."""
    tokens: np.ndarray
    """[N] target tokens, end mark included."""

    @property
    def loss(self) -> float:
        """Mean negative log-likelihood of a token, in nats; its exponential is the perplexity."""
        return float(-self.logp.sum() / self.tokens.sum())


class Scorer:
    """Scores with a model's structure; the parameters come with every call, so that training can share it."""

    def __init__(self, graph: Any, mesh: Mesh, chunk: int, max_length: int):
        def nll(parameters: Any, batch: Batch) -> jax.Array:
            model = nnx.merge(graph, parameters)
            hidden, _ = model.decode(model.encode(batch.source), batch.target_in)
            return cross_entropy(model.output, hidden, batch.target_out, chunk=chunk)[1].sum(-1)

        self._nll, self._mesh, self._max_length = jax.jit(nll), mesh, max_length

    def score(self, parameters: Any, examples: Examples, plan: Sequence[tuple[Bucket, np.ndarray]]) -> SentenceScores:
        """Log-probability of each example; `plan` is what `data.batches.fixed` made of them.

        Raises TransformerError for a sentence longer than the model's limit.
        """
        check_lengths(examples, self._max_length)
        logp = np.zeros(len(examples))
        for bucket, ids in plan:
            batch = parallel.put_batch(self._mesh, batches.assemble(examples, bucket, ids))
            logp[ids] = -np.asarray(self._nll(parameters, batch))[: len(ids)]
        return SentenceScores(logp, np.asarray(examples.target_lengths))


def check_lengths(examples: Examples, limit: int) -> None:
    """Raise TransformerError for a sentence of more tokens than a model takes, naming it."""
    longest = np.maximum(examples.source_lengths, examples.target_lengths)
    if len(longest) and longest.max() > limit:
        raise TransformerError(
            f"sentence {int(longest.argmax()) + 1} has {longest.max()} tokens, more than --model.max-length={limit}: "
            "take it out, or train with a larger limit"
        )
