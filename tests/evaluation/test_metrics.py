import math
from collections import Counter

import numpy as np
import pytest

from transformer.evaluation import metrics as evaluate


def corpus_bleu(hypotheses, references):
    """Papineni 2002 by hand, for text split at spaces."""
    matches, totals = [0] * 4, [0] * 4
    for hypothesis, reference in zip(hypotheses, references, strict=True):
        h, r = hypothesis.split(), reference.split()
        for n in range(1, 5):
            grams = [Counter(tuple(x[i : i + n]) for i in range(len(x) - n + 1)) for x in (h, r)]
            matches[n - 1] += sum((grams[0] & grams[1]).values())
            totals[n - 1] += sum(grams[0].values())
    lengths = [sum(len(x.split()) for x in side) for side in (hypotheses, references)]
    brevity = min(0.0, 1 - lengths[1] / lengths[0])
    return 100 * math.exp(brevity + sum(math.log(m / t) for m, t in zip(matches, totals, strict=True)) / 4)


HYPOTHESES = ["the cat sat on the mat today", "a dog runs in the old park", "it is raining cats and dogs now"]
REFERENCES = ["the cat sat on a mat today .", "a dog runs in the park", "it is raining cats and dogs now"]


def test_bleu_by_hand():
    expected = corpus_bleu(HYPOTHESES, REFERENCES)
    np.testing.assert_allclose(evaluate.bleu(HYPOTHESES, REFERENCES, "none"), expected, rtol=1e-6)
    assert evaluate.bleu([], []) == 0.0


def test_scores_carry_signatures_and_intervals_around_them():
    found = {score.name: score for score in evaluate.scores(HYPOTHESES, REFERENCES, tokenize="none")}
    assert set(found) == {"BLEU", "chrF2", "TER"}
    assert "tok:none" in found["BLEU"].signature
    assert "version:" in found["chrF2"].signature
    low, high = found["BLEU"].interval
    assert low < found["BLEU"].value < high
    assert found["TER"].interval is None


def test_lowercase_is_said_in_the_signature():
    found = evaluate.scores(["DER HUND SCHLÄFT HEUTE"], ["der Hund schläft heute"], lowercase=True)
    assert found[0].value == pytest.approx(100)
    assert found[2].value == 0
    assert "case:lc" in found[0].signature


def test_bleu_by_length_covers_every_sentence_once_and_equals_bleu_of_the_bin():
    sources = [" ".join("w" * n) for n in (5, 6, 10, 11, 51, 80)]
    hypotheses = [f"one two three four five {n}" for n in range(6)]
    references = [f"one two three four six {n}" for n in range(6)]
    rows = evaluate.by_length(sources, hypotheses, references, "none")
    assert [(row["words"], row["sentences"]) for row in rows] == [("0-5", 1), ("6-10", 2), ("11-15", 1), ("51+", 2)]
    expected = evaluate.bleu(hypotheses[1:3], references[1:3], "none")
    assert rows[1]["bleu"] == pytest.approx(expected)


def test_a_bin_has_the_interval_of_its_sentences():
    sources = ["w"] * 8 + ["w w w w w w"] * 20 + ["w " * 80]
    hypotheses = [f"one two three four five {n % 3} {n % 7}" for n in range(29)]
    references = [f"one two three four {n % 2} {n % 3} {n % 5}" for n in range(29)]
    rows = evaluate.by_length(sources, hypotheses, references, "none")
    assert rows[0]["interval"] != rows[1]["interval"]
    for row, inside in zip(rows, (slice(8), slice(8, 28)), strict=False):
        assert row["interval"] == evaluate.scores(hypotheses[inside], references[inside], tokenize="none")[0].interval
        assert row["interval"][0] < row["bleu"] < row["interval"][1]
    assert rows[2]["interval"] is None  # a single sentence


def test_an_empty_source_line_is_counted_too():
    rows = evaluate.by_length(["", "a b"], ["", "x y"], ["z", "x y"])
    assert sum(row["sentences"] for row in rows) == 2
