"""Selection of the layer, head and threshold that align best, on a development set with gold links."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

from transformer.alignment.links import Links, Rule, align, links
from transformer.alignment.measure import Gold, Measured, measure
from transformer.alignment.record import Attended

THRESHOLDS = (None, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5)
"""Candidates for every layer and head; None: the largest weight of each word. Ties are broken by position."""


class Choice(NamedTuple):
    """A rule, and its measures on the development set."""

    rule: Rule
    measured: Measured


def name(rule: Rule) -> str:
    """Such as "layer 2, head 0", "layer 2, mean of heads, weights from 0.25"."""
    layer = "mean of layers" if rule.layer is None else f"layer {rule.layer}"
    head = "mean of heads" if rule.head is None else f"head {rule.head}"
    threshold = "" if rule.threshold is None else f", weights from {rule.threshold:g}"
    return f"{layer}, {head}{threshold}" + (f", {rule.shift} later" if rule.shift else "")


def rank(
    attended: Sequence[Attended | None],
    gold: Sequence[Gold | None],
    base: Rule,
    thresholds: Sequence[float | None] = THRESHOLDS,
) -> list[Choice]:
    """Every head, the mean of every layer, and the mean over layers, each with its best threshold.

    Sorted by error rate, the lowest first; ties are in that order.

    Args:
        attended: the development pairs; None: the pair is left out.
        gold: their links; None: the pair is left out.
        base: the rule whose shift is used.
        thresholds: candidates.
    """
    example = next((pair for pair in attended if pair is not None), None)
    if example is None:
        return []
    L, H = example.matrix("cross").shape[:2]
    candidates: list[tuple[int | None, int | None]] = [(layer, head) for layer in range(L) for head in range(H)]
    candidates += [(layer, None) for layer in range(L)] if H > 1 else []
    candidates += [(None, None)] if L > 1 else []
    choices = []
    for layer, head in candidates:
        rule = dataclasses.replace(base, layer=layer, head=head)
        weights = [None if pair is None else align(pair, rule)[0] for pair in attended]
        tried = []
        for threshold in thresholds:
            predicted = [None if matrix is None else links(matrix, threshold) for matrix in weights]
            measured = measure(predicted, gold, bootstrap=0)
            tried.append(Choice(dataclasses.replace(rule, threshold=threshold), measured))
        choices.append(min(tried, key=lambda choice: choice.measured.aer))
    return sorted(choices, key=lambda choice: choice.measured.aer)


def all_links(attended: Sequence[Attended | None], rule: Rule) -> list[Links | None]:
    """Links of every pair; None for a pair without attention weights, which cannot be aligned."""
    return [None if pair is None else align(pair, rule)[1] for pair in attended]
