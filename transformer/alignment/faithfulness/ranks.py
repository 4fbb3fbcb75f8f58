"""Source words and tokens in the order in which a read-out ranks them, and in a random one.

Letters: U and W words of target and source, T and S tokens with their EOS tokens.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from transformer.alignment.links import Links, Rule, align, select
from transformer.alignment.record import Attended


class Ranks(NamedTuple):
    """For one pair."""

    words: Int[np.ndarray, "U W"]
    """For each target word the source words, the most important first."""
    token: Int[np.ndarray, " T"]
    """For each target token the most important source token."""
    links: Links
    """Each target word's links."""


def ranks(attended: Attended, rule: Rule) -> Ranks:
    """By a read-out under a rule. Ties are broken by position; rules of pieces and end token apply to words only."""
    weights, links = align(attended, rule)
    return Ranks(np.argsort(-weights, axis=1, kind="stable"), select(attended, rule).argmax(1), links)


def random_ranks(attended: Attended, seed: int) -> Ranks:
    """Drawn for each target word and token. They depend only on the seed, the line number and the lengths."""
    random = np.random.default_rng((seed, attended.line))
    U, W = (max(side.spans) + 1 for side in (attended.target, attended.source))
    words = random.permuted(np.broadcast_to(np.arange(W), (U, W)), axis=1)
    token = random.integers(len(attended.source.pieces), size=len(attended.target.pieces))
    return Ranks(words, token, frozenset((int(order[0]), u) for u, order in enumerate(words)))


def permutations(attended: Attended, count: int, seed: int) -> Int[np.ndarray, "T N S"]:
    """Orders of the source tokens, `count` for each target token; drawn as `random_ranks` are."""
    random = np.random.default_rng((seed, attended.line, 1))
    T, S = len(attended.target.pieces), len(attended.source.pieces)
    return random.permuted(np.broadcast_to(np.arange(S), (T, count, S)), axis=-1)
