"""Selection of the read-out, layer, head, shift and rules that align best, on a development set with gold links."""

import dataclasses
from collections.abc import Iterator, Sequence
from itertools import product
from typing import NamedTuple, get_args

from transformer.alignment.links import End, Links, Pieces, Rule, align, align_by_thresholds
from transformer.alignment.measure import Gold, Measured, measure
from transformer.alignment.readouts.names import OF_PREDICTIONS, WEIGHTS, WITHOUT_HEADS
from transformer.alignment.record import Attended

THRESHOLDS = (None, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5)
"""Candidates for every layer and head; None: the largest weight of each word. Ties are broken by position."""
SHIFTS = (0, 1)
"""Candidates for read-outs of attention, which have a row for each state of the decoder (Chen 2020)."""
REFINED = 5
"""Candidates whose rules from pieces to words are chosen too."""


class Choice(NamedTuple):
    """A rule, and its measures on the development set."""

    rule: Rule
    measured: Measured


class Open(NamedTuple):
    """What is chosen in addition to layer and head; a single candidate is fixed."""

    thresholds: Sequence[float | None] = THRESHOLDS
    shifts: Sequence[int] = (0,)
    by: Sequence[str] = ("weights",)
    pieces: Sequence[Pieces] = ("sum",)
    end: Sequence[End] = ("dropped",)


EVERYTHING = Open(shifts=SHIFTS, pieces=get_args(Pieces), end=get_args(End))
"""All candidates, for the attention weights."""


def name(rule: Rule) -> str:
    """Such as "layer 2, head 0", "norms, layer 2, weights from 0.25"."""
    readout = [] if rule.by == WEIGHTS else [rule.by]
    parts = readout if rule.by in OF_PREDICTIONS else [*readout, *_place(rule)]
    if rule.threshold is not None:
        parts.append(f"weights from {rule.threshold:g}" if rule.threshold else "all weights above zero")
    if rule.shift:
        parts.append(f"{rule.shift} later")
    if rule.pieces != "sum":
        parts.append({"mean": "mean of pieces", "max": "largest of pieces", "any": "any piece"}[rule.pieces])
    if rule.end != "dropped":
        parts.append(f"end token as {rule.end}")
    return ", ".join(parts)


def _place(rule: Rule) -> list[str]:
    layer = "mean of layers" if rule.layer is None else f"layer {rule.layer}"
    if rule.by in WITHOUT_HEADS:
        return [layer]
    return [layer, "mean of heads" if rule.head is None else f"head {rule.head}"]


def rank(
    attended: Sequence[Attended | None], gold: Sequence[Gold | None], base: Rule, choices: Open | None = None
) -> list[Choice]:
    """Every head, the mean of every layer, and the mean over layers, each with its best shift and threshold.

    For the best few, the rules from pieces to words are also chosen; they rarely change the order of layers and heads.
    Sorted by error rate, the lowest first; ties are in that order.

    Args:
        attended: the development pairs; None: the pair is left out.
        gold: their links; None: the pair is left out.
        base: the rule whose remaining fields are used.
        choices: candidates of everything else; by default only the threshold is chosen.
    """
    choices = choices or Open()
    thresholds = choices.thresholds
    example = next((pair for pair in attended if pair is not None), None)
    if example is None:
        return []

    def best(rules: Iterator[Rule]) -> Choice:
        tried = []
        for rule in rules:
            found = [None if pair is None else align_by_thresholds(pair, rule, thresholds)[1] for pair in attended]
            for number, threshold in enumerate(thresholds):
                links = [None if each is None else each[number] for each in found]
                measured = measure(links, gold, bootstrap=0)
                tried.append(Choice(dataclasses.replace(rule, threshold=threshold), measured))
        return min(tried, key=lambda choice: choice.measured.aer)

    first = dataclasses.replace(base, pieces=choices.pieces[0], end=choices.end[0])
    ranked = []
    for by in choices.by:
        shifts = choices.shifts if by not in OF_PREDICTIONS else (0,)
        for layer, head in _heads(example, by):
            own = dataclasses.replace(first, by=by, layer=layer, head=head)
            ranked.append(best(dataclasses.replace(own, shift=shift) for shift in shifts))
    ranked.sort(key=lambda choice: choice.measured.aer)
    if len(choices.pieces) * len(choices.end) > 1:
        for place, choice in enumerate(ranked[:REFINED]):
            rules = product(choices.pieces, choices.end)
            ranked[place] = best(dataclasses.replace(choice.rule, pieces=pieces, end=end) for pieces, end in rules)
    return sorted(ranked, key=lambda choice: choice.measured.aer)


def _heads(example: Attended, by: str) -> list[tuple[int | None, int | None]]:
    """Every head, the mean of every layer, and the mean over layers of a read-out."""
    L, H = example.matrix(Rule(by=by).kind).shape[:2]
    found: list[tuple[int | None, int | None]] = [(layer, head) for layer in range(L) for head in range(H)]
    found += [(layer, None) for layer in range(L)] if H > 1 else []
    return found + ([(None, None)] if L > 1 else [])


def all_links(attended: Sequence[Attended | None], rule: Rule) -> list[Links | None]:
    """Links of every pair; None for a pair without attention weights, which cannot be aligned."""
    return [None if pair is None else align(pair, rule)[1] for pair in attended]
