"""Faithfulness of read-outs as means over target tokens, with intervals over sentences."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from transformer.alignment.faithfulness.probe import Probed, Wanted
from transformer.alignment.links import Links, Rule
from transformer.evaluation.significance import interval


class Mean(NamedTuple):
    """A mean over target tokens, with the 95% bootstrap interval over sentences; None for fewer than 2."""

    value: float
    interval: tuple[float, float] | None


class Row(NamedTuple):
    """How faithful a read-out is; None for what was not tested."""

    rule: Rule | None
    """None: random ranks."""
    comprehensiveness: Mean | None
    """Drop in probability without the highest-ranked words, averaged over the amounts. High is faithful.
    """
    sufficiency: Mean | None
    """The same with these words alone. Low is faithful."""
    by_amount: dict[str, tuple[Mean, Mean]] | None
    """Comprehensiveness and sufficiency for each amount."""
    flips: Mean | None
    """Share of tokens that are no longer the most likely ones without attention to the highest-ranked token."""
    links: list[Links | None]
    """For each pair; None: it is left out."""


class Faithfulness(NamedTuple):
    """Of several read-outs; the last row is that of random ranks."""

    rows: list[Row]
    permutation: Mean | None
    """Total variation distance when the weights are permuted, the median over permutations; of the model, not of a
    read-out."""
    tokens: int
    """Target tokens that are counted."""
    sentences: int
    left_out: int
    """Pairs that are empty or too long."""


def summarize(probed: Probed, rules: Sequence[Rule], wanted: Wanted) -> Faithfulness:
    """Means and intervals of the measurements under the rules."""
    used = np.array([each is not None for each in probed.links[-1]], bool)
    tokens = probed.tokens[used]

    def mean(sums: np.ndarray) -> Mean:
        counts = np.stack([sums[used], tokens], 1)
        return Mean(float(_mean(counts.sum(0))), interval(counts, _mean))

    def row(number: int, rule: Rule | None) -> Row:
        falls, flips = probed.falls, probed.flips
        flipped = None if flips is None else mean(flips[number])
        if falls is None:
            return Row(rule, None, None, None, flipped, probed.links[number])
        of_amounts = falls[number]  # [N, 2, A]
        comprehensiveness, sufficiency = (mean(of_amounts[:, what].mean(-1)) for what in (0, 1))
        by_amount = {
            str(amount): (mean(of_amounts[:, 0, place]), mean(of_amounts[:, 1, place]))
            for place, amount in enumerate(wanted.amounts)
        }
        return Row(rule, comprehensiveness, sufficiency, by_amount, flipped, probed.links[number])

    return Faithfulness(
        [row(number, rule) for number, rule in enumerate([*rules, None])],
        None if probed.distances is None else mean(probed.distances),
        int(tokens.sum()),
        int(used.sum()),
        int((~used).sum()),
    )


def _mean(counts: np.ndarray) -> np.ndarray:
    """A sum over tokens divided by their number; 0 without tokens."""
    mean: np.ndarray = counts[..., 0] / np.maximum(counts[..., 1], 1)
    return mean
