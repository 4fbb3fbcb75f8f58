"""The table of runs: read from their files alone."""

import json
import os
from dataclasses import dataclass

import pytest

from transformer import cli
from transformer.commands import runs
from transformer.config import Config, Translation, to_json
from transformer.tasks.task import Task


@dataclass(frozen=True)
class Other(Task):
    """A task of another kind."""


def make(folder, recipe, task=None, validations=(), size=1000, changed=1_700_000_000):
    """A run directory as training leaves it, without its arrays."""
    folder.mkdir(parents=True)
    settings = Config(task=task or Translation())
    (folder / "config.json").write_text(json.dumps({"recipe": recipe, "config": to_json(settings)}))
    lines = [{"kind": "train", "step": 50, "loss": 3.0}]
    lines += [{"kind": "validation", "step": step, "seconds": 1.0, **values} for step, values in validations]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "array").write_bytes(bytes(size))
    for path in folder.rglob("*"):
        os.utime(path, (changed, changed))
    return folder


def test_the_table_has_a_line_for_each_run_the_last_changed_first(tmp_path, capsys, caplog):
    bleu = [(100, {"loss": 2.0, "bleu": 20.5}), (200, {"loss": 2.5, "bleu": 31.25}), (300, {"loss": 1.5, "bleu": 30.0})]
    make(tmp_path / "a", "files", validations=bleu, size=25_000_000)
    make(tmp_path / "study" / "b-1", "grammar", Translation(metric="loss"), bleu, changed=1_700_100_000)
    make(tmp_path / "begun", "demo", changed=1_600_000_000)
    (tmp_path / "a" / "report").mkdir()
    (tmp_path / "a" / "report" / "config.json").write_text("not searched")
    os.utime(tmp_path / "a" / "report" / "config.json", (0, 0))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text("{}")
    cli.main(["runs", str(tmp_path)])
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split("  ")[0] == "run"
    rows = [" ".join(line.split()) for line in lines]
    assert [row.split()[0] for row in rows] == ["study/b-1", "a", "begun"]
    assert rows[0].startswith("study/b-1 grammar 300 loss 1.5 at 300 0.0 MB 2023-11-1")
    assert rows[1].startswith("a files 300 BLEU 31.25 at 200 25 MB 2023-11-1")
    assert rows[2].startswith("begun demo 50 0.0 MB 2020-09-1")
    assert f"{tmp_path / 'other'} cannot be read" in caplog.text


def test_the_best_of_another_task_is_by_its_first_measure():
    records = [
        {"kind": "validation", "step": 10, "loss": 1.0, "perplexity": 2.0, "accuracy": 70.0, "seconds": 3.0},
        {"kind": "validation", "step": 20, "loss": 2.0, "perplexity": 3.0, "accuracy": 80.0, "seconds": 3.0},
    ]
    assert runs.best(records, Config(task=Other())) == "accuracy 80 at 20"
    assert runs.best([], Config(task=Other())) == ""


def test_folders_without_runs(tmp_path, capsys):
    cli.main(["runs", str(tmp_path)])
    assert capsys.readouterr().out == f"there is no run in {tmp_path}\n"
    with pytest.raises(SystemExit) as stop:
        cli.main(["runs", str(tmp_path / "none")])
    assert stop.value.code == 2
    assert "give the folder that holds your runs" in capsys.readouterr().err
