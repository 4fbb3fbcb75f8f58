"""A line in, a line out, for a run of any task: for one of translation, its translations."""

import json
from dataclasses import dataclass

import pytest

from transformer.commands.align import Align
from transformer.commands.explain import Explain
from transformer.commands.predict import Predict
from transformer.commands.score import Score
from transformer.commands.translate import Translate
from transformer.errors import UsageError
from transformer.tasks.table import TASKS
from transformer.tasks.task import Task

LINES = ["ba be", "", "bi bo bu da"]


def test_predictions_of_a_translation_are_its_translations(trained_run, trained_model, tmp_path, capsys):
    source, out = tmp_path / "in", tmp_path / "out"
    source.write_text("".join(line + "\n" for line in LINES))
    expected = trained_model.search(LINES)
    Predict(str(trained_run), str(source))()
    assert capsys.readouterr().out == "".join(best.text + "\n" for best in expected)
    Predict(str(trained_run), str(source), str(out), "json")()
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["line"] for row in rows] == [1, 2, 3]
    assert [row["source"] for row in rows] == LINES
    assert [row["text"] for row in rows] == [best.text for best in expected]
    assert [row["logp"] for row in rows] == pytest.approx([best.logp for best in expected], abs=1e-5)
    with pytest.raises(UsageError, match="exists"):
        Predict(str(trained_run), str(source), str(out))()


def test_an_interrupted_output_is_resumed(trained_run, tmp_path, monkeypatch):
    monkeypatch.setattr("transformer.commands.stream.FIRST_OF_FILE", 1)
    source, out = tmp_path / "in", tmp_path / "out"
    source.write_text("".join(line + "\n" for line in LINES[:1]) + "\udcff", errors="surrogateescape")
    with pytest.raises(Exception, match="line 2"):
        Predict(str(trained_run), str(source), str(out))()
    part = tmp_path / "out.part"
    assert len(part.read_text().splitlines()) == 1
    source.write_text("".join(line + "\n" for line in LINES))
    with pytest.raises(UsageError, match="--resume"):
        Predict(str(trained_run), str(source), str(out))()
    Predict(str(trained_run), str(source), str(out), resume=True)()
    assert len(out.read_text().splitlines()) == 3
    assert not part.exists()


def test_commands_of_translation_refuse_other_tasks(trained_run, tmp_path, monkeypatch):
    @dataclass(frozen=True)
    class Other(Task):
        pass

    monkeypatch.setitem(TASKS, "other", Other)
    about = json.loads((trained_run / "config.json").read_text())
    about["config"]["task"] = {"kind": "other"}
    (tmp_path / "config.json").write_text(json.dumps(about))
    run = str(tmp_path)
    for command in (Translate(run), Score(run, "a", "b"), Align(run), Explain(run, "ba")):
        with pytest.raises(UsageError, match="has a task other than translation: use `transformer predict`"):
            command.check()
    Predict(run).check()
