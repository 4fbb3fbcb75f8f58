import logging
import math
from collections import Counter

import numpy as np
import pytest
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.metrics.ter import TER

from tests.study.conftest import sentences
from transformer.errors import UsageError
from transformer.evaluation import metrics as evaluate
from transformer.tasks.translation import scoring


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


def scores(hypotheses, references, **options):
    """As a report has them."""
    return scoring.scores(scoring.statistics(hypotheses, references, **options), **options)


def test_scores_carry_signatures_and_intervals_around_them():
    found = scores(HYPOTHESES, REFERENCES, tokenize="none")
    assert list(found) == ["BLEU", "chrF2", "TER"]
    assert found["BLEU"]["signature"].startswith("nrefs:1|case:mixed|eff:no|tok:none|smooth:exp|version:")
    assert "version:" in found["chrF2"]["signature"]
    assert found["TER"]["signature"].startswith("nrefs:1|case:lc|tok:tercom|norm:no|punct:yes|asian:no|version:")
    for score in found.values():
        low, high = score["interval"]
        assert low < score["value"] < high


def test_lowercase_is_in_the_signature():
    found = scores(["DER HUND SCHLÄFT HEUTE"], ["der Hund schläft heute"], lowercase=True)
    assert found["BLEU"]["value"] == pytest.approx(100)
    assert found["TER"]["value"] == 0
    for score in found.values():
        assert "case:lc" in score["signature"]


def test_ter_ignores_case_as_sacrebleu_does_by_default():
    assert scores(["The cat sleeps ."], ["the cat sleeps ."])["TER"]["value"] == 0.0  # 25.0 where case counts
    assert scores(["a cat sleeps ."], ["the cat sleeps ."])["TER"]["value"] == 25.0


SACREBLEU = {
    "BLEU": (BLEU(tokenize="none", force=True), lambda h, r: evaluate.bleu_counts(h, r, "none")),
    "chrF2": (CHRF(), evaluate.chrf_counts),
    "TER": (TER(), evaluate.ter_counts),
}


@pytest.mark.parametrize("name", SACREBLEU)
@pytest.mark.parametrize("noise", [0.0, 0.3, 0.9])
def test_scores_of_summed_counts_are_those_of_sacrebleu(name, noise):
    hypotheses, references = sentences(1, noise)
    metric, count = SACREBLEU[name]
    counts, score = count(hypotheses, references), scoring.SCORES[name].score
    for drawn in np.random.default_rng(1).integers(60, size=(8, 60)):
        expected = metric.corpus_score([hypotheses[i] for i in drawn], [[references[i] for i in drawn]]).score
        assert score(counts[drawn].sum(0)) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("name", SACREBLEU)
@pytest.mark.parametrize(
    "pairs",
    [
        [("", "")],
        [("", "a b c d e")],
        [("a b c d e", "")],
        [("", "a b c d"), ("a b c d", "")],
        [("ab", "ab")],
        [("x", "y")],
        [("a b c d e f", "a b c d e f")],
        [("a b c d e f " * 3, "f e d c b a")],
    ],
)
def test_scores_without_matches_or_words_are_those_of_sacrebleu(name, pairs):
    metric, count = SACREBLEU[name]
    hypotheses, references = map(list, zip(*pairs, strict=True))
    found = scoring.SCORES[name].score(count(hypotheses, references).sum(0))
    assert found == pytest.approx(metric.corpus_score(hypotheses, [references]).score, abs=1e-9)


def test_an_interval_is_within_the_scale():
    """Of the four resamples of two sentences, one has only the wrong sentence and one only the right one: these are the
    quantiles."""
    found = scores(["the cat sat on the mat", "xx yy zz"], ["the cat sat on the mat", "a dog runs in that park"])
    assert found["BLEU"]["interval"] == pytest.approx((0, 100))
    assert found["chrF2"]["interval"] == pytest.approx((0, 100))
    assert found["TER"]["interval"] == pytest.approx((0, 100))


def test_where_there_is_no_interval_the_reason_is_given():
    for score in scores(["the cat"], ["the dog"]).values():
        assert (score["interval"], score["reason"]) == (None, "fewer than 2 sentences")
    for score in scores(HYPOTHESES, REFERENCES).values():
        assert "reason" not in score


def test_only_chosen_scores_are_computed(monkeypatch):
    monkeypatch.setattr(scoring, "ter_counts", lambda *_: pytest.fail("TER is computed"))
    counts = scoring.statistics(HYPOTHESES, REFERENCES, metrics=("chrf", "bleu"))
    assert list(counts) == ["BLEU", "chrF2"]
    assert "by_length" in scoring.details([""] * 3, counts, 1.0)
    found = scoring.details([""] * 3, {"chrF2": counts["chrF2"]}, 1.0)
    assert list(found["scores"]) == ["chrF2"]
    assert "by_length" not in found
    with pytest.raises(UsageError, match=r"no metric .blue.: choose from bleu, chrf, ter"):
        scoring.statistics(HYPOTHESES, REFERENCES, metrics=("bleu", "blue"))


def test_a_slow_ter_is_announced_and_shows_its_progress(monkeypatch, caplog, capsys):
    monkeypatch.setattr(evaluate, "LONG", 7)
    evaluate.ter_counts(HYPOTHESES, REFERENCES)
    assert "TER may take long: 2 of 3 pairs have 7 words or more" in caplog.text
    assert "TER" in capsys.readouterr().err
    caplog.clear()
    monkeypatch.setattr(evaluate, "LONG", 8)
    evaluate.ter_counts(HYPOTHESES, REFERENCES)
    assert not caplog.text
    assert not capsys.readouterr().err
    # The processes of a job that are not the main one log errors only.
    monkeypatch.setattr(evaluate, "LONG", 7)
    caplog.set_level(logging.ERROR, evaluate.log.name)
    evaluate.ter_counts(HYPOTHESES, REFERENCES)
    assert not caplog.text
    assert not capsys.readouterr().err


def test_bleu_by_length_covers_every_sentence_once_and_equals_bleu_of_the_bin():
    sources = [" ".join("w" * n) for n in (5, 6, 10, 11, 51, 80)]
    hypotheses = [f"one two three four five {n}" for n in range(6)]
    references = [f"one two three four six {n}" for n in range(6)]
    rows = evaluate.by_length(sources, evaluate.bleu_counts(hypotheses, references, "none"))
    assert [(row["words"], row["sentences"]) for row in rows] == [("0-5", 1), ("6-10", 2), ("11-15", 1), ("51+", 2)]
    expected = evaluate.bleu(hypotheses[1:3], references[1:3], "none")
    assert rows[1]["bleu"] == pytest.approx(expected)


def test_a_bin_reports_the_interval_of_its_sentences():
    sources = ["w"] * 8 + ["w w w w w w"] * 20 + ["w " * 80]
    hypotheses = [f"one two three four five {n % 3} {n % 7}" for n in range(29)]
    references = [f"one two three four {n % 2} {n % 3} {n % 5}" for n in range(29)]
    rows = evaluate.by_length(sources, evaluate.bleu_counts(hypotheses, references, "none"))
    assert rows[0]["interval"] != rows[1]["interval"]
    for row, inside in zip(rows, (slice(8), slice(8, 28)), strict=False):
        alone = scores(hypotheses[inside], references[inside], tokenize="none")["BLEU"]
        assert (row["bleu"], row["interval"]) == (alone["value"], alone["interval"])
        assert row["interval"][0] < row["bleu"] < row["interval"][1]
    assert (rows[2]["interval"], rows[2]["reason"]) == (None, "fewer than 2 sentences")


def test_an_empty_source_line_is_counted_too():
    rows = evaluate.by_length(["", "a b"], evaluate.bleu_counts(["", "x y"], ["z", "x y"]))
    assert sum(row["sentences"] for row in rows) == 2
