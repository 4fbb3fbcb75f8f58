"""IBM Model 1 against loops over dictionaries, and the diagonal by hand."""

import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parent.parent.parent / "experiments" / "alignment"
sys.path.insert(0, str(FOLDER))
from ibm1 import Ibm1, diagonal  # noqa: E402

SOURCES = ["the house", "the book", "a book", "the blue house", "a a book"]
TARGETS = ["das haus", "das buch", "ein buch", "das blaue haus", "ein buch ein"]


def loops(sources, targets, iterations):
    """Brown's expectation and maximisation, one word pair at a time; the empty word is ""."""
    words = {word for target in targets for word in target.split()}
    t = defaultdict(lambda: 1 / len(words))
    for _ in range(iterations):
        counts, totals = defaultdict(float), defaultdict(float)
        for source, target in zip(sources, targets, strict=True):
            for e in target.split():
                shares = [("", t["", e]), *((f, t[f, e]) for f in source.split())]
                whole = sum(p for _, p in shares)
                for f, p in shares:
                    counts[f, e] += p / whole
                    totals[f] += p / whole
        t = {(f, e): counts[f, e] / totals[f] for f, e in counts}
    return t


@pytest.mark.parametrize("iterations", [1, 3, 10])
def test_probabilities_equal_loops(iterations):
    model = Ibm1(SOURCES, TARGETS, iterations)
    expected = loops(SOURCES, TARGETS, iterations)
    V = len(model.target_ids)
    names = {number: word for word, number in model.source_ids.items()} | {0: ""}
    targets = {number: word for word, number in model.target_ids.items()}
    assert len(model.cells) == len(expected)
    for cell, p in zip(model.cells, model.probabilities, strict=True):
        np.testing.assert_allclose(p, expected[names[cell // V], targets[cell % V]], rtol=1e-9)


def test_it_learns_the_textbooks_words():
    model = Ibm1(SOURCES, TARGETS, 20)
    assert model.align("the book", "das buch") == {(0, 0), (1, 1)}
    assert model.align("book the", "das buch") == {(1, 0), (0, 1)}
    assert model.align("the unknown book", "das unbekannte buch") == {(0, 0), (2, 2)}


def test_the_diagonal_by_hand():
    assert diagonal("a b c", "x y z") == {(0, 0), (1, 1), (2, 2)}
    assert diagonal("a", "x y z") == {(0, 0), (0, 1), (0, 2)}
    assert diagonal("a b c d", "x y") == {(0, 0), (2, 1)}
    assert diagonal("a b", "") == frozenset()
