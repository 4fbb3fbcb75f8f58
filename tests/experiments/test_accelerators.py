"""The check of an accelerator, on the CPU: what it measured stays, however a stage ends."""

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

CHECK = Path(__file__).parent.parent.parent / "experiments" / "accelerators" / "check.py"
check = runpy.run_path(str(CHECK))


def test_a_stopped_stage_keeps_the_measurements_of_the_others(tmp_path):
    results = tmp_path / "results.jsonl"
    assert check["run"]("device", results, 120, smoke=True) == "done"
    assert check["run"]("numerics", results, 1, smoke=True) == "time limit of 1 s"
    assert check["run"]("nothing", results, 60, smoke=True) == "exit code 1"
    rows = check["read"](results)
    assert [row["ended"] for row in rows if "ended" in row] == ["done", "time limit of 1 s", "exit code 1"]
    assert {"jax", "jaxlib", "flax", "device"} <= {row.get("what") for row in rows if row["stage"] == "device"}
    text = check["table"](rows)
    assert "time limit of 1 s" in text
    assert "| jaxlib |" in text


def test_the_last_run_of_a_stage_is_shown():
    rows = [
        {"stage": "speed", "at": 1, "smoke": False, "training": "old", "target tokens/s": 1.0},
        {"stage": "speed", "at": 2, "smoke": False, "ended": "done", "seconds": 2},
        {"stage": "speed", "at": 1, "smoke": False, "training": "new", "target tokens/s": 12345.6, "shapes": 1200},
        {"stage": "speed", "at": 3, "smoke": False, "ended": "exit code 1", "seconds": 3},
    ]
    text = check["table"](rows)
    assert "old" not in text
    assert "| new | 12,346 | 1,200 |" in text
    assert "exit code 1, 3 s." in text


def test_an_unknown_stage_is_refused():
    done = subprocess.run([sys.executable, str(CHECK), "--stages", "sped"], capture_output=True, text=True)
    assert done.returncode == 1
    assert "--stages has no sped: choose among device, numerics" in done.stderr


@pytest.mark.slow
def test_every_stage_works(tmp_path):
    command = [sys.executable, str(CHECK), "--smoke", "--limit", "30", "--output", str(tmp_path)]
    subprocess.run(command, check=True, timeout=3_000)
    rows = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert [row["ended"] for row in rows if "ended" in row] == ["done"] * 7
    (resumed,) = (row for row in rows if row["stage"] == "resume" and "arrays" in row)
    assert resumed["bit-identical"] == resumed["arrays"] > 0
    assert all(value for row in rows for key, value in row.items() if "within" in key)
