"""A task and a model family in a file outside the package, used with the commands."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_cli import run
from tests.test_plugins import forget
from transformer.training import logger

HERE = Path(__file__).parent
PLUGIN = HERE / "own" / "even_words.py"
RECIPE = """
import sys

from transformer.config import Batching, Config, Data, Schedule, Training
from transformer.models.families import FAMILIES
from transformer.tasks.table import TASKS

config = Config(
    data=Data(source="files", languages=("text", "label"), train="{folder}/train", validation="{folder}/test",
              test="{folder}/test", max_length=16, cache="{folder}/cache"),
    batching=Batching(tokens=256, shapes=2),
    task=TASKS["even_words"](),
    model=FAMILIES["means"](width=4),
    schedule=Schedule(peak=1e-2, warmup=2),
    training=Training(steps=8, log_every=1, validate_every=4, save_minutes=0),
)
"""


ON_TWO_DEVICES = """
import json
import sys

from transformer import cli

for arguments in json.loads(sys.argv[1]):
    try:
        cli.main(arguments)
    except SystemExit as end:
        assert not end.code, arguments
"""


@pytest.fixture(scope="module")
def runs(corpora, tmp_path_factory):
    """A run on two devices, one that ended half-way and was resumed there, and one on a single device."""
    folder = tmp_path_factory.mktemp("own")
    for name in ("train", "test"):
        lines = (corpora / f"{name}.xx").read_text().splitlines()
        labels = ["even" if len(line.split()) % 2 == 0 else "odd" for line in lines]
        (folder / f"{name}.text").write_text("".join(line + "\n" for line in lines))
        (folder / f"{name}.label").write_text("".join(label + "\n" for label in labels))
    recipe = folder / "even.py"
    recipe.write_text(RECIPE.format(folder=folder))
    train = ["--plugin", str(PLUGIN), "train", str(recipe), "--run"]
    commands = [
        [*train, str(folder / "whole")],
        [*train, str(folder / "stopped"), "--training.steps", "4"],
        [*train, str(folder / "stopped"), "--resume"],
    ]
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=2"
    environment = os.environ | {"XLA_FLAGS": flags, "PYTHONPATH": str(HERE.parent)}
    command = [sys.executable, "-c", ON_TWO_DEVICES, json.dumps(commands)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert run(*train, str(folder / "single")) == 0
    yield folder
    forget(PLUGIN)


def losses(folder):
    records = logger.read(folder / "metrics.jsonl")
    return [record["loss"] for record in records if record["kind"] == "train"]


def test_it_trains_and_resumes_exactly_on_two_devices(runs):
    whole = losses(runs / "whole")
    assert len(whole) == 8
    assert whole[-1] < whole[0]
    assert losses(runs / "stopped") == whole
    assert losses(runs / "single") == pytest.approx(whole, rel=1e-5)
    about = json.loads((runs / "whole" / "config.json").read_text())
    assert about["config"]["task"]["kind"] == "even_words"
    assert about["config"]["model"] == {"kind": "means", "width": 4}
    assert [Path(one["file"]) for one in about["plugins"]] == [PLUGIN]


def test_it_predicts_and_evaluates(runs, capsys, tmp_path):
    plugin = ("--plugin", str(PLUGIN))
    asked = tmp_path / "asked.text"
    asked.write_text("ba be\nba be bi\n\n")
    assert run(*plugin, "predict", str(runs / "whole"), "--input", str(asked), "--format", "json") == 0
    rows = [json.loads(row) for row in capsys.readouterr().out.splitlines()]
    assert [row["line"] for row in rows] == [1, 2, 3]
    assert all(row["text"] in ("odd", "even") and 0.5 <= row["p"] <= 1 for row in rows)

    assert run(*plugin, "predict", str(runs / "whole"), "--input", str(runs / "test.text")) == 0
    guesses, test = capsys.readouterr().out.splitlines(), (runs / "test.label").read_text().splitlines()
    right = sum(one == other for one, other in zip(guesses, test, strict=True))
    assert run(*plugin, "evaluate", str(runs / "whole")) == 0
    assert f"accuracy {100 * right / len(test):.2f}" in " ".join(capsys.readouterr().out.split())
    assert run(*plugin, "evaluate", str(runs / "whole"), "--against", str(runs / "whole")) == 0
    assert "+0.00" in capsys.readouterr().out
    assert run(*plugin, "translate", str(runs / "whole"), "--input", str(asked)) == 2
    assert "use `transformer predict`" in capsys.readouterr().err
