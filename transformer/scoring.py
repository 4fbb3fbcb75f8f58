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
from transformer.losses import cross_entropy


class SentenceScores(NamedTuple):
    """One number a sentence, in the order of the examples."""

    logp: np.ndarray
    """[N] log-probability of the target, end mark included, in nats; NaN where the model takes no such length."""
    tokens: np.ndarray
    """[N] target tokens, end mark included."""

    @property
    def loss(self) -> float:
        """Mean negative log-likelihood of a scored token, in nats; its exponential is the perplexity."""
        scored = np.isfinite(self.logp)
        return float(-self.logp[scored].sum() / max(1, self.tokens[scored].sum()))


class Scorer:
    """Scores with a model's structure; the parameters come with every call, so that training can share it."""

    def __init__(self, graph: Any, mesh: Mesh, chunk: int):
        def nll(parameters: Any, batch: Batch) -> jax.Array:
            model = nnx.merge(graph, parameters)
            hidden, _ = model.decode(model.encode(batch.source), batch.target_in)
            return cross_entropy(model.output, hidden, batch.target_out, chunk=chunk)[1].sum(-1)

        self._nll, self._mesh = jax.jit(nll), mesh

    def score(self, parameters: Any, examples: Examples, plan: Sequence[tuple[Bucket, np.ndarray]]) -> SentenceScores:
        """Log-probability of each example; `plan` is what `data.batches.fixed` made of them."""
        logp = np.zeros(len(examples))
        for bucket, ids in plan:
            batch = parallel.put_batch(self._mesh, batches.assemble(examples, bucket, ids))
            logp[ids] = -np.asarray(self._nll(parameters, batch))[: len(ids)]
        return SentenceScores(logp, np.asarray(examples.target_lengths))
