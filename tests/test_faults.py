"""What a job survives: being killed at any moment, bad storage, a full disk, another number of devices."""

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from transformer import api, config, logbook
from transformer.rundir import Run

pytestmark = pytest.mark.slow
RECIPE = """
import json, pathlib
from transformer.config import from_json

config = from_json(json.loads(pathlib.Path({path!r}).read_text()))
"""
COMPILED = "the update compiled"


@pytest.fixture
def recipe(settings, tmp_path):
    """The toy recipe as a file, with many validations."""
    (tmp_path / "settings.json").write_text(json.dumps(config.to_json(settings)))
    path = tmp_path / "toy.py"
    path.write_text(RECIPE.format(path=str(tmp_path / "settings.json")))
    return path


def train(recipe, run, *more, devices=1):
    """A training process; its log comes through a pipe."""
    environment = os.environ | {
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}",
        "PYTHONUNBUFFERED": "1",
        "JAX_COMPILATION_CACHE_DIR": str(recipe.parent / "xla"),
    }
    command = [sys.executable, "-m", "transformer", "train", str(recipe), "--run", str(run), "--resume"]
    command += ["--training.steps", "400", "--training.validate-every", "5", "--training.validate-sentences", "0"]
    command += ["--training.metric", "loss", "--training.keep-last", "2", "--training.log-every", "1"]
    root = Path(__file__).parent.parent
    return subprocess.Popen([*command, *more], env=environment, cwd=root, stderr=subprocess.PIPE, text=True)


def until(child, words):
    """Read the log until it says so; what it said before."""
    said = ""
    for line in child.stderr:
        said += line
        if words in line:
            return said
    raise AssertionError(f"ended without {words!r}: {said}")


def to_the_end(recipe, run, *more, **changes):
    child = train(recipe, run, *more, **changes)
    said = child.communicate(timeout=600)[1]
    assert child.returncode == 0, said
    return said


def parameters(run):
    return jax.tree.map(np.asarray, api.load(run, "last").parameters)


def assert_identical(run, whole):
    jax.tree.map(np.testing.assert_array_equal, parameters(run), parameters(whole))
    records = [[(r["kind"], r["step"], r["loss"]) for r in logbook.read(Run(f).metrics)] for f in (run, whole)]
    assert records[0] == records[1], "no step is missing, none is there twice"


@pytest.fixture
def whole(recipe, tmp_path):
    """A run never stopped."""
    to_the_end(recipe, tmp_path / "whole")
    return tmp_path / "whole"


@pytest.mark.parametrize(("with_", "times"), [(signal.SIGKILL, 30), (signal.SIGTERM, 10)], ids=["SIGKILL", "SIGTERM"])
def test_a_job_stopped_at_random_moments_is_the_one_never_stopped(recipe, whole, tmp_path, with_, times):
    run, moments, stopped = tmp_path / "run", random.Random(7), 0
    while stopped < times:
        child = train(recipe, run)
        until(child, COMPILED)
        time.sleep(moments.uniform(0, 0.4))
        child.send_signal(with_)
        child.communicate(timeout=120)
        assert child.returncode, "the run is too short for this test"
        assert child.returncode == (-signal.SIGKILL if with_ == signal.SIGKILL else 130)
        stopped += 1
    to_the_end(recipe, run)
    assert_identical(run, whole)


@pytest.mark.parametrize("damage", ["flipped", "truncated", "missing"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_gone_on_from(recipe, whole, tmp_path, damage):
    run = tmp_path / "run"
    to_the_end(recipe, run, "--training.steps", "100")
    files = [path for path in (Run(run).checkpoints / "100" / "optimizer").rglob("*") if path.is_file()]
    largest = max(files, key=lambda path: path.stat().st_size)
    content = largest.read_bytes()
    if damage == "missing":
        largest.unlink()
    elif damage == "truncated":
        largest.write_bytes(content[: len(content) // 2])
    else:
        middle = len(content) // 2
        largest.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    said = to_the_end(recipe, run)
    assert "the checkpoint of step 100 is damaged" in said
    assert "going on from step 95" in said
    assert (run / "damaged" / "100-1").is_dir(), "nothing is thrown away"
    assert_identical(run, whole)


def together(recipe, run, *more, devices=4):
    """Two processes of one job."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        coordinator = f"localhost:{free.getsockname()[1]}"
    job = ["--cluster.coordinator", coordinator, "--cluster.processes", "2", "--cluster.process"]
    return [train(recipe, run, *more, *job, str(process), devices=devices) for process in (0, 1)]


def test_a_run_goes_on_on_any_number_of_devices(recipe, tmp_path):
    alone, run = tmp_path / "alone", tmp_path / "run"
    to_the_end(recipe, alone, "--training.steps", "40")
    to_the_end(recipe, run, "--training.steps", "10", devices=8)
    to_the_end(recipe, run, "--training.steps", "20")
    children = together(recipe, run, "--training.steps", "30", "--mesh.data", "2", "--mesh.fsdp", "4")
    for child in children:
        said = child.communicate(timeout=600)[1]
        assert child.returncode == 0, said
    to_the_end(recipe, run, "--training.steps", "40", devices=8)
    losses = [[r["loss"] for r in logbook.read(Run(f).metrics) if r["kind"] == "train"] for f in (alone, run)]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4)


@pytest.mark.parametrize("killed", [0, 1])
def test_a_process_that_is_killed_ends_the_others_and_the_job_goes_on(recipe, tmp_path, killed):
    run = tmp_path / "run"
    children = together(recipe, run, "--training.steps", "100000")
    until(children[0], "going on" if run.exists() else COMPILED)
    time.sleep(5)
    children[killed].kill()
    began = time.monotonic()
    said = children[1 - killed].communicate(timeout=120)[1]
    assert children[1 - killed].returncode not in (0, None)
    assert time.monotonic() - began < 120
    assert "process" in said
    children[killed].communicate()
    before = max(int(path.name) for path in Run(run).checkpoints.iterdir() if path.name.isdigit())
    children = together(recipe, run, "--training.steps", str(before + 20))
    for child in children:
        said = child.communicate(timeout=600)[1]
        assert child.returncode == 0, said
    steps = [r["step"] for r in logbook.read(Run(run).metrics) if r["kind"] == "train"]
    assert steps == list(range(1, before + 21))


@pytest.fixture
def disk(tmp_path):
    """A small file system of its own; root alone can have one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a file system can be mounted by root only")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_is_full_costs_nothing_that_was_saved(recipe, tmp_path, disk):
    to_the_end(recipe, disk / "run", "--training.steps", "10")
    free = shutil.disk_usage(disk).free
    (disk / "rest").write_bytes(bytes(free - 40_000))  # room for the log, not for a checkpoint
    child = train(recipe, disk / "run", "--training.steps", "20")
    said = child.communicate(timeout=600)[1]
    assert child.returncode == 1, said
    assert "Traceback" not in said
    assert "cannot be written" in said or "No space left" in said
    (disk / "rest").unlink()
    shutil.copytree(disk / "run", tmp_path / "copy")
    assert api.load(tmp_path / "copy", "last").checkpoint == "step 10"
    to_the_end(recipe, disk / "run", "--training.steps", "20")


def test_a_disk_that_is_full_of_logs_ends_the_run_too(recipe, disk):
    """Without room for a line, where a checkpoint is far away."""
    to_the_end(recipe, disk / "run", "--training.steps", "10")
    (disk / "rest").write_bytes(bytes(shutil.disk_usage(disk).free - 8_192))
    child = train(recipe, disk / "run", "--training.steps", "100000", "--training.log-every", "1")
    said = child.communicate(timeout=120)[1]
    assert child.returncode == 1, said
    assert "No space left" in said
    assert "Traceback" not in said


def test_a_disk_that_is_read_only_is_said(recipe, disk):
    to_the_end(recipe, disk / "run", "--training.steps", "10")
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    child = train(recipe, disk / "run", "--training.steps", "20")
    said = child.communicate(timeout=600)[1]
    assert child.returncode == 1
    assert "cannot write to the run directory" in said
    assert "Traceback" not in said
    assert api.load(disk / "run", "last").checkpoint == "step 10"


def test_a_folder_that_may_not_be_written_is_said(recipe, tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    (tmp_path / "locked").mkdir(mode=0o500)
    child = train(recipe, tmp_path / "locked" / "run")
    said = child.communicate(timeout=600)[1]
    assert child.returncode == 1
    assert "Permission denied" in said
