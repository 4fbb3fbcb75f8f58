"""A study of small runs on the toy language: what is missing is run, what is done is not, tables say the rest."""

import json
import math
import re
from pathlib import Path

import pytest

from transformer import check, cli, config, workflow
from transformer.errors import TransformerError, UsageError
from transformer.study import cells, present
from transformer.study.run import study

FILE = """
import dataclasses, json, pathlib
from transformer.config import Attention, Rnn, from_json
from transformer.study.cells import Cell, Study

base = from_json(json.loads(pathlib.Path({path!r}).read_text()))
model = Rnn(embedding=12, width=12, max_length=32)
none = dataclasses.replace(model, attention=Attention(score="none"))
study = Study({{
    "plain": Cell(dataclasses.replace(base, model=none)),
    "dot": Cell(dataclasses.replace(base, model=model), seeds=(1, 2), tokenize="none"),
}}, drawn=("dot",))
"""


@pytest.fixture
def folder(settings, tmp_path):
    folder = tmp_path / "toys"
    folder.mkdir()
    path = tmp_path / "base.json"
    path.write_text(json.dumps(config.to_json(settings)))
    (folder / "study.py").write_text(FILE.format(path=str(path)))
    return folder


def test_a_study_runs_what_is_missing_and_shows_it(folder, tmp_path, monkeypatch, capsys):
    trained = []

    def train(settings, run, *rest, **more):
        trained.append(run.name)
        return real(settings, run, *rest, **more)

    real = workflow.train
    monkeypatch.setattr(workflow, "train", train)
    runs = tmp_path / "runs"
    study(folder, runs, ("plain",), smoke=False, report_only=False)
    assert trained == ["plain-1"]
    assert "not yet run: dot-1, dot-2" in capsys.readouterr().out
    (runs / "dot-1").mkdir()  # as a run that was stopped before its first checkpoint
    study(folder, runs, (), smoke=False, report_only=False)
    assert trained == ["plain-1", "dot-1", "dot-2"]
    printed = capsys.readouterr().out
    assert "not yet run" not in printed

    results = json.loads((folder / "results.json").read_text())
    assert list(results) == ["plain-1", "dot-1", "dot-2"]
    bleu = [results[f"dot-{seed}"]["test"]["scores"]["BLEU"]["value"] for seed in (1, 2)]
    mean = sum(bleu) / 2
    deviation = math.sqrt(sum((b - mean) ** 2 for b in bleu))
    tables = (folder / "tables.md").read_text()
    assert f"| {mean:.1f} ± {deviation:.1f} |" in tables
    assert tables in printed
    for name, result in results.items():
        report = json.loads((runs / name / "report" / "test.json").read_text())
        assert report["scores"] == result["test"]["scores"]
        assert ("tok:none" in report["scores"]["BLEU"]["signature"]) == name.startswith("dot")
        assert result["updates"] == 12
    assert (folder / "bleu_by_length.png").read_bytes().startswith(b"\x89PNG")

    (folder / "tables.md").unlink()
    study(folder, runs, (), smoke=False, report_only=True)
    assert trained == ["plain-1", "dot-1", "dot-2"]
    assert (folder / "tables.md").read_text() == tables


def test_two_that_run_cells_of_one_study_lose_nothing(folder):
    first, second = cells.trials(cells.find(folder), ["dot"])
    one, other = (cells.Results(folder / "results.json") for _ in range(2))
    rest = dict.fromkeys(cells.KEYS[3:])
    one.add(first, rest | {"bleu": 1})
    other.add(second, rest | {"bleu": 2})
    found = cells.Results(folder / "results.json")
    assert found.of(first)["bleu"] == 1
    assert found.of(second)["bleu"] == 2


def test_a_result_of_other_settings_does_not_count(folder, tmp_path):
    study(folder, tmp_path / "runs", ("plain",), smoke=False, report_only=False)
    file = folder / "study.py"
    file.write_text(file.read_text().replace('score="none")', 'score="none"), dropout=0.1'))
    with pytest.raises(UsageError, match="no results yet"):
        study(folder, tmp_path / "runs", (), smoke=False, report_only=True)
    with pytest.raises(UsageError, match=r"was trained with --model.dropout=0.2, not 0.1"):
        study(folder, tmp_path / "runs", ("plain",), smoke=False, report_only=False)


def test_a_result_of_an_older_version_counts(folder, tmp_path):
    """One that did not know a setting of today had what is its default today."""
    study(folder, tmp_path / "runs", ("plain",), smoke=False, report_only=False)
    path = folder / "results.json"
    results = json.loads(path.read_text())
    del results["plain-1"]["config"]["model"]["reverse"]
    del results["plain-1"]["config"]["decoding"]["coverage_penalty"]
    path.write_text(json.dumps(results))
    (plain,) = cells.trials(cells.find(folder), ["plain"])
    assert cells.Results(path).of(plain) is not None
    results["plain-1"]["config"]["model"]["from_tomorrow"] = 1
    path.write_text(json.dumps(results))
    assert cells.Results(path).of(plain) is None


def test_what_cannot_work_is_refused_before_anything_runs(folder, tmp_path):
    file = folder / "study.py"
    whole = file.read_text()
    file.write_text(whole.replace("model=model)", "model=dataclasses.replace(model, dropout=2.0))"))
    with pytest.raises(UsageError, match=r"the cell dot: --model.dropout"):
        study(folder, tmp_path / "runs", (), smoke=False, report_only=False)
    file.write_text(whole)
    base = json.loads((tmp_path / "base.json").read_text())
    base["data"]["test"] = ""
    (tmp_path / "base.json").write_text(json.dumps(base))
    with pytest.raises(UsageError, match="the cell plain has no test set"):
        study(folder, tmp_path / "runs", (), smoke=False, report_only=False)
    assert not (tmp_path / "runs").exists()


def trial(seed, bleu, bins):
    score = {"value": bleu, "interval": [bleu - 1, bleu + 1]}
    test = {
        "scores": {"BLEU": score, "chrF2": score},
        "perplexity": 2.0,
        "by_length": [{"words": words, "bleu": value} for words, value in bins.items()],
    }
    return {"seed": seed, "parameters": 1234, "updates": 10, "minutes": 1.25, "test": test}


def test_tables_by_hand(tmp_path):
    found = {
        "one": [trial(1, 20.0, {"0-5": 30.0, "51+": 8.0})],
        "two": [trial(1, 10.0, {"0-5": 1.0}), trial(2, 12.0, {"0-5": 3.0, "11-15": 5.0})],
    }
    tables = present.tables(found)
    assert "| one | 1 | 1,234 | 10 | 1.2 | 20.0 [19.0, 21.0] | 20.0 | 2.00 |" in tables
    assert "| two | 1, 2 | 1,234 | 10 | 1.2 | 11.0 ± 1.4 | 11.0 ± 1.4 | 2.00 |" in tables
    assert "|  | 0-5 | 11-15 | 51+ |" in tables
    assert "| one | 30.0 |  | 8.0 |" in tables
    assert "| two | 2.0 | 5.0 |  |" in tables
    assert present.by_length(found["two"])["0-5"] == (2.0, pytest.approx(math.sqrt(2)))
    present.draw(found, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 5000


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("study = 3", "must define `study`"),
        ("import nothing_of_this_name", "cannot be read: ModuleNotFoundError"),
        ("from transformer.study.cells import Study; study = Study({})", "has no cell at all"),
        ("from transformer.study.cells import *; study = Study({'a': Cell(Config())}, drawn=('b',))", "has no cell b"),
        ("import sys; sys.exit(0)", "cannot be read: SystemExit"),
        ("from transformer.study.cells import *; study = Study([Cell(Config())])", "a dict of names and Cells"),
        ("from transformer.study.cells import *; study = Study({'a': Config()})", "the cell a is no"),
        ("from transformer.study.cells import *; study = Study({'a': Cell(Config(), seeds=3)})", "a tuple of seeds"),
        ("from transformer.study.cells import *; study = Study({'a': Cell(Config(), seeds=())})", "a tuple of seeds"),
        ("from transformer.study.cells import *; study = Study({'a': Cell(Config(), tokenize='x')})", "tokenize='x'"),
    ],
)
def test_what_is_no_study_is_refused(content, complaint, tmp_path):
    path = tmp_path / "study.py"
    path.write_text(content)
    with pytest.raises(UsageError, match=complaint):
        cells.find(path)


def test_wrong_usage_says_what_is_right(folder, tmp_path, capsys):
    with pytest.raises(UsageError, match="did you mean plain"):
        study(folder, tmp_path / "runs", ("plane",), smoke=False, report_only=False)
    with pytest.raises(UsageError, match="no study at"):
        cells.find(tmp_path / "none.py")
    for content, complaint in (
        ("{", "cannot be read"),
        ("[]", "no object of names"),
        ('{"plain-1": {}}', "plain-1 has no cell, seed, config"),
        ('{"plain-1": 3}', "plain-1 has no cell"),
    ):
        (folder / "results.json").write_text(content)
        with pytest.raises(TransformerError, match=complaint):
            study(folder, tmp_path / "runs", (), smoke=False, report_only=True)
    with pytest.raises(SystemExit) as exit_:
        cli.main(["study", str(tmp_path / "nowhere")])
    assert exit_.value.code == 2
    assert re.search("no study at .*nowhere", capsys.readouterr().err)


def test_every_study_of_ours_is_found():
    folder = Path(__file__).parent.parent / "experiments"
    for path in folder.glob("*/study.py"):
        for one in cells.trials(cells.find(path)):
            check.everything(one.settings)
