"""Is a read-out faithful to the model? Tests of its ranking of source words, sentence by sentence.

- removal: comprehensiveness and sufficiency, see `removal`.
- flips (Serrano and Smith 2019, "Is Attention Interpretable?", section 4): the weights on the source token that a
  read-out ranks highest become zero and the others are rescaled; how often does the most likely target token change?
- permutation (Jain and Wallace 2019, "Attention is not Explanation", section 4.2.1): the weights are permuted over the
  source tokens; how far does the distribution over the vocabulary shift? The median over the permutations counts.

Flips and permutation change the weights of all layers and heads alike, at the step that predicts the token; they are
published for models with a single attention. Only the target tokens of words are counted, not the EOS token.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Bool, Float, Int

from transformer.alignment.extract import Extractor, Pair, batches
from transformer.alignment.faithfulness.amounts import AMOUNTS, Amount
from transformer.alignment.faithfulness.intervention import Outcomes, outcomes
from transformer.alignment.faithfulness.ranks import Ranks, permutations, random_ranks, ranks
from transformer.alignment.faithfulness.removal import falls
from transformer.alignment.links import Links, Rule
from transformer.alignment.readouts.table import Batch
from transformer.alignment.record import Attended
from transformer.distributed import sharding as parallel
from transformer.errors import UsageError
from transformer.models.interface import Changes, Model
from transformer.nn.losses import cross_entropy

Test = Literal["removal", "flips", "permutation"]
CHUNK = 100
"""Pairs held in memory at once with all their read-outs."""
LOGITS = 512
"""Tokens whose logits are held at once."""


class Wanted(NamedTuple):
    """What is measured, and how."""

    which: Sequence[Test] = ("removal", "flips", "permutation")
    amounts: Sequence[Amount] = tuple(map(Amount.parse, AMOUNTS))
    """Numbers of source words that are removed."""
    permutations: int = 20
    """For each target token."""
    seed: int = 1
    """Seed of random ranks and permutations, which depend only on it and the line number."""


class Probed(NamedTuple):
    """Sums over the target tokens of each sentence, for R rules and then for random ranks; A amounts.

    The arrays have zeros for a sentence that is left out, and no entries for tests that were not asked for.
    """

    tokens: Int[np.ndarray, " N"]
    """Target tokens that are counted."""
    falls: Float[np.ndarray, "R1 N 2 A"] | None
    """Comprehensiveness and sufficiency."""
    flips: Int[np.ndarray, "R1 N"] | None
    distances: Float[np.ndarray, " N"] | None
    """For the permutation test."""
    links: list[list[Links | None]]
    """For each rule and for random ranks, for each sentence; None: left out."""


class Prober:
    """Probes models that `build` makes from parameters; every call passes the parameters."""

    def __init__(self, build: Callable[[Any], Model], mesh: Mesh, extractor: Extractor):
        self.build, self.mesh, self.extractor = build, mesh, extractor
        self._logp, self._outcomes = jax.jit(self._logp_batch), jax.jit(self._outcomes_batch)

    def probe(
        self, parameters: Any, pairs: Sequence[Pair], rules: Sequence[Rule], wanted: Wanted, first: int = 1
    ) -> Probed:
        """Every test of every rule.

        Args:
            parameters: of the model.
            pairs: N sentences and translations.
            rules: read-outs, and how they are read.
            wanted: what is measured.
            first: the number of the first line.

        Raises UsageError for a model that does not have a read-out, or whose attention cannot be changed.
        """
        if set(wanted.which) != {"removal"}:
            _check_changes(self.build(parameters))
        N, R, A = len(pairs), len(rules) + 1, len(wanted.amounts)
        probed = Probed(
            np.zeros(N, np.int64),
            np.zeros((R, N, 2, A)) if "removal" in wanted.which else None,
            np.zeros((R, N), np.int64) if "flips" in wanted.which else None,
            np.zeros(N) if "permutation" in wanted.which else None,
            [[None] * N for _ in range(R)],
        )
        by = list(dict.fromkeys(rule.by for rule in rules))
        for start in range(0, N, CHUNK):
            chunk = pairs[start : start + CHUNK]
            attended = self.extractor.extract(parameters, chunk, first + start, by)
            known = {start + n: each for n, each in enumerate(attended) if each is not None}
            ranked = {n: [*(ranks(each, rule) for rule in rules), random_ranks(each, wanted.seed)]
                      for n, each in known.items()}  # fmt: skip
            for n, of_pair in ranked.items():
                probed.tokens[n] = _of_words(pairs[n]).sum()
                for row, each in enumerate(of_pair):
                    probed.links[row][n] = each.links
            if probed.falls is not None:
                self._remove(parameters, pairs, ranked, wanted, probed.falls)
            if probed.flips is not None or probed.distances is not None:
                self._change(parameters, pairs, known, ranked, wanted, probed)
        return probed

    def _remove(
        self,
        parameters: Any,
        pairs: Sequence[Pair],
        ranked: dict[int, list[Ranks]],
        wanted: Wanted,
        found: Float[np.ndarray, "R1 N 2 A"],
    ) -> None:
        numbers = list(ranked)
        orders = [[each.words for each in ranked[n]] for n in numbers]
        each = falls(partial(self._score, parameters), [pairs[n] for n in numbers], orders, wanted.amounts)
        for n, of_pair in zip(numbers, each, strict=True):
            found[:, n] = [[fall.comprehensiveness, fall.sufficiency] for fall in of_pair]

    def _score(self, parameters: Any, pairs: Sequence[Pair]) -> list[np.ndarray]:
        """For each pair the log-probability of every target token."""
        scores = [np.zeros(0)] * len(pairs)
        every = range(len(pairs))
        for numbers, batch in batches(pairs, every, self.mesh, self.extractor.max_length, "words removed"):
            logp = np.asarray(self._logp(parameters, batch), np.float64)
            for row, number in enumerate(numbers):
                scores[number] = logp[row, : len(pairs[number].target.tokens)]
        return scores

    def _change(
        self,
        parameters: Any,
        pairs: Sequence[Pair],
        known: dict[int, Attended],
        ranked: dict[int, list[Ranks]],
        wanted: Wanted,
        probed: Probed,
    ) -> None:
        """Flips and distances; both changes are made in the same passes."""
        shuffles = wanted.permutations if probed.distances is not None else 0
        R = len(probed.links) if probed.flips is not None else 0
        most = self.extractor.max_length
        for numbers, batch in batches(pairs, list(known), self.mesh, most, "weights changed"):
            rows, S = batch.source.shape
            orders = np.broadcast_to(np.arange(S, dtype=np.int16), (rows, batch.target_in.shape[1], R + shuffles, S))
            orders = orders.copy()
            for row, n in enumerate(numbers):
                T, own = len(known[n].target.pieces), len(known[n].source.pieces)
                for place, each in enumerate(ranked[n][:R]):
                    orders[row, np.arange(T), place, each.token] = -1
                orders[row, :T, R:, :own] = permutations(known[n], shuffles, wanted.seed)
            arrays = parallel.put_batch(self.mesh, orders)
            found = jax.tree.map(np.asarray, self._outcomes(parameters, batch, arrays))
            for row, n in enumerate(numbers):
                counted = np.flatnonzero(_of_words(pairs[n]))
                if probed.flips is not None:
                    probed.flips[:, n] = found.flipped[row, counted, :R].sum(0)
                if probed.distances is not None:
                    probed.distances[n] = np.median(found.distance[row, counted, R:], 1).sum()

    def _logp_batch(self, parameters: Any, batch: Batch) -> jax.Array:
        model = self.build(parameters)
        hidden, _ = model.decode(model.encode(batch.source), batch.target_in)
        return -cross_entropy(model.output, hidden, batch.target_out, chunk=LOGITS)[1]

    def _outcomes_batch(self, parameters: Any, batch: Batch, orders: jax.Array) -> Outcomes:
        return outcomes(lambda: self.build(parameters), batch.source, batch.target_in, orders)


def _of_words(pair: Pair) -> Bool[np.ndarray, " T"]:
    """Which target tokens are counted; the model's own translation may contain other special tokens."""
    return np.array(pair.target.word_ids) >= 0


def _check_changes(model: Any) -> None:
    if not isinstance(model, Changes):
        raise UsageError(
            f"flips and permutation change the attention of one model, which {type(model).__name__} does not allow: "
            "give --tests removal"
        )
