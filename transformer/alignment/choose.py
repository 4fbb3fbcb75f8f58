"""Which layer and head aligns best, found on a development set with gold links."""

from collections.abc import Sequence
from typing import NamedTuple

from transformer.alignment.measure import Gold, Measured, measure
from transformer.alignment.record import Attended
from transformer.alignment.words import Links, Rule, align


class Choice(NamedTuple):
    """A rule, and what it reached on the development set."""

    rule: Rule
    measured: Measured


def name(rule: Rule) -> str:
    """Such as "layer 2, head 0", "layer 2, mean of heads"."""
    layer = "mean of layers" if rule.layer is None else f"layer {rule.layer}"
    head = "mean of heads" if rule.head is None else f"head {rule.head}"
    return f"{layer}, {head}" + (f", {rule.shift} later" if rule.shift else "")


def rank(found: Sequence[Attended | None], gold: Sequence[Gold], base: Rule) -> list[Choice]:
    """Every head, every layer's mean and the mean of all, the lowest error rate first, ties in that order.

    Args:
        found: development pairs; None counts as a pair without links.
        gold: their links.
        base: threshold and shift of all of them.
    """
    there = next((one for one in found if one is not None), None)
    if there is None:
        return []
    L, H = there.matrix("cross").shape[:2]
    places: list[tuple[int | None, int | None]] = [(layer, head) for layer in range(L) for head in range(H)]
    places += [(layer, None) for layer in range(L)] if H > 1 else []
    places += [(None, None)] if L > 1 else []
    rules = [Rule(layer, head, base.threshold, base.shift) for layer, head in places]
    choices = [Choice(rule, measure(all_links(found, rule), gold, bootstrap=0)) for rule in rules]
    return sorted(choices, key=lambda choice: choice.measured.aer)


def all_links(found: Sequence[Attended | None], rule: Rule) -> list[Links]:
    """Links of every pair; none where there is no attention."""
    return [frozenset() if one is None else align(one, rule)[1] for one in found]
