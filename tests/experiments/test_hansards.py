"""The training text of the Hansards, by the shared task's own examples."""

import runpy
from pathlib import Path

import pytest

from experiments.hansards import readouts
from transformer.alignment.measure import Gold

TEXT = Path(__file__).parent.parent.parent / "experiments" / "hansards" / "text.py"
ours = runpy.run_path(str(TEXT))


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("french", "Souvenons-nous, monsieur l'Orateur.", "souvenons - nous , monsieur le orateur ."),
        ("french", "Ma question s'adresse au ministre chargé des transports.",
         "ma question se adresse a le ministre charge de les transports ."),
        ("french", "Je crois qu’il a pris du temps.", "je crois que il a pris de le temps ."),
        ("english", "The Minister's statement doesn't help; we can't say we're glad.",
         "the minister 's statement does not help ; we cannot say we are glad ."),
        ("english", "It won't, I'm told.", "it will not , i am told ."),
    ],
)  # fmt: skip
def test_sentences_by_hand(language, text, expected):
    assert ours[language](text) == expected


def test_each_pair_is_kept_once_and_none_that_is_known():
    pairs = [("a", "b"), ("c", "d"), ("a", "b"), ("", "e"), ("a", "x")]
    assert ours["distinct"](pairs) == [("a", "b"), ("c", "d"), ("a", "x")]
    assert ours["distinct"](pairs, known=[("c", "d")]) == [("a", "b"), ("a", "x")]


def test_french_loses_its_accents():
    assert ours["plain"]("À l’Été, ÇA") == "a l'ete, ca"


def test_error_rates_of_both_directions_and_lengths():
    """Two pairs of one and of eleven words; the second is aligned in one direction only."""
    long = " ".join("abcdefghijk")
    gold = [Gold(frozenset({(0, 0)}), frozenset({(0, 0)})), Gold(frozenset({(1, 1)}), frozenset({(1, 1)}))]
    pairs = readouts.Pairs(["a", long], ["a", long], gold)
    there, back = [frozenset({(0, 0)}), frozenset({(1, 1)})], [frozenset({(0, 0)}), frozenset({(2, 1)})]
    found = readouts.rows({"model": "m", "by": "b", "chosen": ["x", "y"]}, there, back, pairs)
    rates = {each["direction"]: each for each in found}
    assert rates["en-fr"]["aer"] == 0
    assert rates["fr-en"]["aer"] == pytest.approx(0.5)
    assert {name: part["aer"] for name, part in rates["fr-en"]["by_length"].items()} == {"1-10": 0, "11-20": 1}
    assert rates["intersection"]["aer"] == pytest.approx(1 / 3)
    assert "| m | b | 0.000 | 0.500 |" in readouts.table(found)
