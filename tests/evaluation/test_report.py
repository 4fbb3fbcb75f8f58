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
        "name": "accuracy", "value": 0.0, "interval": None, "reason": "fewer than 2 sentences",
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
    assert (against["test"], against["resamples"]) == ("paired bootstrap resampling, two-sided", 2000)
    assert against["sentences"] == 50
    assert against["measures"]["accuracy"]["baseline"] == ratio(counts[1][0].sum(0))
    assert against["measures"]["accuracy"]["difference"] == pytest.approx(expected.value)
    assert against["measures"]["accuracy"]["p"] == expected.p
    assert against["measures"]["accuracy"]["interval"] == expected.interval
    text, (low, high) = report.show(found.result), expected.interval
    assert f"against their.txt: {expected.value:+.2f} accuracy, p = {expected.p:.3f}" in text
    assert f", 95% [{low:+.2f}, {high:+.2f}]\n" in text
    assert "    paired bootstrap resampling, two-sided, 2,000 resamples of 50 sentences" in text
    same = differences(found.counts, found.counts, ACCURACY)["accuracy"]
    assert (same["difference"], same["p"]) == (0, 1)
    known = evaluate(baseline=Baseline("their.txt", other, counts={"accuracy": counts[1][0]}))
    assert known.result["against"] == against
    with pytest.raises(TransformerError, match=r"their.txt has 3 lines, the test set 50: .*--source and --reference"):
        evaluate(baseline=Baseline("their.txt", other[:3]))


def test_a_single_line_has_no_interval_and_is_not_tested():
    found = report.evaluate(
        "one", ["a"], ["yes"], predict=lambda lines: ["yes"], statistics=statistics, measures=ACCURACY,
        baseline=Baseline("their.txt", ["no"]),
    ).result  # fmt: skip
    assert found["against"]["measures"]["accuracy"]["p"] is None
    text = report.show(found)
    assert "one: 1 sentence\n" in text
    assert "  accuracy 100.00  no interval (fewer than 2 sentences)\n" in text
    assert "  against their.txt: +100.00 accuracy, not tested (fewer than 2 sentences)" in text
    assert "resamples" not in text


def test_details_of_a_task_replace_what_every_task_has():
    def details(predictions, counts):
        assert (len(predictions), list(counts)) == (50, ["accuracy"])
        bleu = {"value": 12.345, "interval": (11.0, 13.0), "signature": "tok:none"}
        by_length = [{"words": "0-5", "bleu": 8.0, "sentences": 50}]
        return {"scores": {"BLEU": bleu}, "perplexity": 2.5, "by_length": by_length}

    found = evaluate(details=details, baseline=Baseline("a", ["no"] * 50))
    assert set(found.result["scores"]) == {"BLEU"}
    lines = report.show(found.result).splitlines()
    assert "  BLEU   12.35  95% [11.0, 13.0]  tok:none" in lines
    assert any(line.startswith("  perplexity 2.500 (per token of this tokenizer), ") for line in lines)
    assert "       0-5   8.00 ██ (50 sentences)" in lines


def test_the_report_is_written_next_to_the_predictions(tmp_path):
    found = evaluate()
    assert report.write(tmp_path / "report", found)
    assert (tmp_path / "report" / "test.hypotheses").read_text() == "yes\n" * 50
    kept = json.loads((tmp_path / "report" / "test.json").read_text())
    assert kept["scores"]["accuracy"]["value"] == found.result["scores"]["accuracy"]["value"]
    assert kept["digest"] == report.content(LINES, REFERENCES)


def test_a_report_is_known_by_the_content_of_its_set():
    digest = report.content(LINES, REFERENCES)
    assert len(digest) == 12
    others = [(REFERENCES, LINES), (LINES[:-1], REFERENCES[:-1]), (LINES[::-1], REFERENCES), ([*LINES, ""], REFERENCES)]
    assert len({digest, *(report.content(*other) for other in others)}) == 5
    assert report.name_of_other("test", LINES, REFERENCES) == f"test-{digest[:8]}"


def test_a_report_of_another_set_is_never_overwritten(tmp_path, caplog):
    def write(lines, **more):
        found = report.evaluate(
            "test", lines, REFERENCES, predict=list, statistics=statistics, measures=ACCURACY,
        )  # fmt: skip
        return report.write(tmp_path, found, **more), found

    def files():
        return {path.name for path in tmp_path.iterdir()}

    _, first = write(LINES)
    assert write(LINES)[0]
    assert files() == {"test.json", "test.hypotheses"}  # the same set is replaced
    assert not caplog.text
    before = (tmp_path / "test.json").read_bytes()
    assert not write(LINES[::-1], replace=False)[0]
    assert (tmp_path / "test.json").read_bytes() == before
    write(LINES[::-1])
    aside = f"test-{first.result['digest'][:8]}"
    assert files() == {"test.json", "test.hypotheses", f"{aside}.json", f"{aside}.hypotheses"}
    assert "belongs to a different set or ensemble: it is now" in caplog.text
    assert (tmp_path / f"{aside}.json").read_bytes() == before
    assert (tmp_path / f"{aside}.hypotheses").read_text().splitlines() == LINES
    # Reports of version 0.1 do not say of which set they are. A damaged report is kept too.
    (tmp_path / "test.json").write_text('{"set": "test"}')
    write(LINES)
    (tmp_path / "test.json").write_text("{")
    write(LINES)
    assert files() >= {"test.json", "test-unknown.json", "test-unknown-2.json"}
    assert (tmp_path / "test-unknown.json").read_text() == '{"set": "test"}'
    assert (tmp_path / "test-unknown-2.json").read_text() == "{"


def test_ensembles_with_members_of_equal_names_keep_their_reports(tmp_path):
    for members in (["a/base"], ["b/base"], ["b/base"]):
        found = evaluate()
        report.write(tmp_path, found._replace(result=found.result | {"ensemble": members}))
    digest = report.content(LINES, REFERENCES)
    assert {path.name for path in tmp_path.glob("*.json")} == {"test.json", f"test-{digest[:8]}.json"}


def test_only_an_intact_report_of_the_same_set_and_settings_is_found(tmp_path, caplog):
    about = {"checkpoint": "step 3", "search": {"beam": 4, "batch": 64}}
    report.write(tmp_path, evaluate(about=about))

    def find(lines=LINES, references=REFERENCES, **more):
        return report.find(tmp_path, lines, references, about | more)

    assert find() == ("test.json", ["yes"] * 50)
    assert find(search={"beam": 4, "batch": 32}) is not None  # it has the same translations
    assert find(search={"beam": 1, "batch": 64}) is None
    assert find(checkpoint="step 4") is None
    assert find(lines=LINES[::-1]) is None
    assert find(references=REFERENCES[::-1]) is None
    assert report.find(tmp_path / "none", LINES, REFERENCES, about) is None
    (tmp_path / "damaged.json").write_text("{")
    (tmp_path / "list.json").write_text("[]")
    assert find() is not None
    assert "damaged.json is damaged: line 1" in caplog.text
    (tmp_path / "test.hypotheses").write_text("yes\n" * 49 + "no\n")
    assert find() is None
    assert "test.json is not used: its .hypotheses is missing or has changed" in caplog.text
    (tmp_path / "test.hypotheses").write_text("yes\n" * 50)
    old = json.loads((tmp_path / "test.json").read_text())
    del old["digest"]
    (tmp_path / "test.json").write_text(json.dumps(old))
    assert find() is None


def test_examples_go_from_short_to_long():
    lines = [" ".join("w" * n) for n in (5, 1, 3, 9)]
    text = report.examples(lines, ["r5", "r1", "r3", "r9"], ["p5", "p1", "p3", "p9"], 2)
    assert text.split().index("p3") < text.split().index("p9")
    assert "p1" not in text.split()
