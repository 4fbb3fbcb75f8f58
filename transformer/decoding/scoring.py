"""Log-probabilities of given translations by teacher forcing, for validation loss, perplexity and scores."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from transformer.data.batching.buckets import Bucket
from transformer.data.batching.pairs import Batch, assemble
from transformer.data.examples import Examples
from transformer.distributed import sharding as parallel
from transformer.models.interface import Model
from transformer.nn.losses import cross_entropy


class SentenceScores(NamedTuple):
    """Log-probabilities of N sentences, in the order of the examples."""

    logp: np.ndarray
    """[N] log-probability of the target including its EOS token, in nats; NaN if it exceeds the model's length."""
    tokens: np.ndarray
    """[N] target tokens, including the EOS token."""
    each: list[np.ndarray]
    """N arrays: the log-probability of every token, the EOS token last."""
    pieces: Sequence[Sequence[str]] = ()
    """N lists: every token as text, if the text is known; empty for a target without a score."""

    @property
    def loss(self) -> float:
        """Mean negative log-likelihood of the scored tokens, in nats; its exponential is the perplexity."""
        scored = np.isfinite(self.logp)
        return float(-self.logp[scored].sum() / max(1, self.tokens[scored].sum()))


class Scorer:
    """Scores with models that `build` makes from parameters; every call passes the parameters, so training can share
    it."""

    def __init__(self, build: Callable[[Any], Model], mesh: Mesh, chunk: int):
        def nll(parameters: Any, batch: Batch) -> jax.Array:
            model = build(parameters)
            hidden, _ = model.decode(model.encode(batch.source), batch.target_in)
            return cross_entropy(model.output, hidden, batch.target_out, chunk=chunk)[1]

        self._nll, self._mesh = jax.jit(nll, out_shardings=parallel.replicated(mesh)), mesh

    def score(self, parameters: Any, examples: Examples, plan: Sequence[tuple[Bucket, np.ndarray]]) -> SentenceScores:
        """Log-probability of each example; `plan` is the result of `data.batching.batches.each_once` for them."""
        lengths = np.asarray(examples.lengths["target"])
        each = [np.zeros(0)] * len(lengths)
        for bucket, ids in plan:
            own = parallel.local_rows(self._mesh, parallel.padded_rows(self._mesh, bucket.rows))
            batch = parallel.put_batch(self._mesh, assemble(examples, bucket, ids, own))
            logp = -np.asarray(self._nll(parameters, batch))
            for row, number in enumerate(ids):
                each[number] = logp[row, : lengths[number]]
        return SentenceScores(np.array([tokens.sum(dtype=np.float64) for tokens in each]), lengths, each)
