"""The report of a test set of any task: scores, intervals, a baseline; what is written and shown."""

import json

import numpy as np
import pytest

from transformer.errors import TransformerError
from transformer.evaluation import report
from transformer.evaluation.measures import Measure, differences, ratio, scores
from transformer.evaluation.report import Baseline
from transformer.evaluation.significance import compare

ACCURACY = {"accuracy": Measure(ratio), "length": Measure(None)}
LINES = [f"line {number}" for number in range(50)]
REFERENCES = ["yes" if number % 3 else "no" for number in range(50)]


def statistics(predictions, references):
    """Counts of right answers and of answers, by hand."""
    return {"accuracy": np.array([[a == b, 1] for a, b in zip(predictions, references, strict=True)], int)}


def evaluate(**more):
    return report.evaluate(
        "test", LINES, REFERENCES, predict=lambda lines: ["yes"] * len(lines), statistics=statistics, measures=ACCURACY,
        **more,
    )  # fmt: skip


def test_each_measure_with_counts_has_its_score_and_its_interval():
    found = evaluate(about={"checkpoint": "step 3"})
    right = np.array([reference == "yes" for reference in REFERENCES])
    assert found.result["scores"]["accuracy"]["value"] == pytest.approx(100 * right.mean())
    assert set(found.result["scores"]) == {"accuracy"}
    low, high = found.result["scores"]["accuracy"]["interval"]
    # About two standard errors of a share.
    error = 100 * np.sqrt(right.mean() * (1 - right.mean()) / 50)
    assert (low, high) == pytest.approx((100 * right.mean() - 1.96 * error, 100 * right.mean() + 1.96 * error), abs=3)
    assert (found.result["set"], found.result["sentences"], found.result["checkpoint"]) == ("test", 50, "step 3")
    assert scores(statistics(["yes"], ["no"]), ACCURACY)["accuracy"] == {
        "name": "accuracy", "value": 0.0, "interval": None,
    }  # fmt: skip
    text = report.show(found.result)
    assert "test: 50 sentences, step 3" in text
    assert f"accuracy  {100 * right.mean():.2f}  95% [{low:.1f}, {high:.1f}]" in text


def test_a_baseline_is_compared_by_resampling_the_same_counts():
    other = [("yes" if number % 2 else "no") for number in range(50)]
    found = evaluate(baseline=Baseline("their.txt", other))
    counts = [statistics(each, REFERENCES)["accuracy"][None] for each in (["yes"] * 50, other)]
    expected = compare(*counts, ratio)
    against = found.result["against"]
    assert against["baseline"] == "their.txt"
    assert against["measures"]["accuracy"]["difference"] == pytest.approx(expected.value)
    assert against["measures"]["accuracy"]["p"] == expected.p
    assert against["measures"]["accuracy"]["interval"] == expected.interval
    assert f"against their.txt: {expected.value:+.2f} accuracy, p = {expected.p:.3f}" in report.show(found.result)
    same = differences(found.counts, found.counts, ACCURACY)["accuracy"]
    assert (same["difference"], same["p"]) == (0, 1)
    with pytest.raises(TransformerError, match=r"their.txt has 3 lines, the test set 50"):
        evaluate(baseline=Baseline("their.txt", other[:3]))


def test_details_of_a_task_replace_what_every_task_has():
    def details(predictions, baseline):
        assert (len(predictions), baseline) == (50, ["no"] * 50)
        bleu = {"value": 12.345, "interval": (11.0, 13.0), "signature": "tok:none"}
        by_length = [{"words": "0-5", "bleu": 8.0, "sentences": 50}]
        against = {"bleu": 11.0, "difference": 1.5, "p": 0.25}
        return {"scores": {"BLEU": bleu}, "perplexity": 2.5, "by_length": by_length, "against": against}

    found = evaluate(details=details, baseline=Baseline("a", ["no"] * 50))
    assert set(found.result["scores"]) == {"BLEU"}
    lines = report.show(found.result).splitlines()
    assert "  BLEU   12.35  95% [11.0, 13.0]  tok:none" in lines
    assert any(line.startswith("  perplexity 2.500 (per token of this tokenizer), ") for line in lines)
    assert "       0-5   8.00 ██ (50 sentences)" in lines
    assert "  against a: +1.50 BLEU, p = 0.250 (paired bootstrap)" in lines


def test_the_report_is_written_beside_the_predictions(tmp_path):
    found = evaluate()
    report.write(tmp_path / "report", found)
    assert (tmp_path / "report" / "test.hypotheses").read_text() == "yes\n" * 50
    kept = json.loads((tmp_path / "report" / "test.json").read_text())
    assert kept["scores"]["accuracy"]["value"] == found.result["scores"]["accuracy"]["value"]


def test_examples_go_from_short_to_long():
    lines = [" ".join("w" * n) for n in (5, 1, 3, 9)]
    text = report.examples(lines, ["r5", "r1", "r3", "r9"], ["p5", "p1", "p3", "p9"], 2)
    assert text.split().index("p3") < text.split().index("p9")
    assert "p1" not in text.split()
