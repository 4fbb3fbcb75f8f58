"""What a job survives: being killed at any moment, bad storage, a full disk, a different number of devices."""

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import numpy as np
import pytest

from transformer import api, config
from transformer.storage.run import Run
from transformer.training import logger as logbook

pytestmark = pytest.mark.slow
RECIPE = """
import json, pathlib
from transformer.config import from_json

config = from_json(json.loads(pathlib.Path({path!r}).read_text()))
"""
COMPILED = "the update compiled"
ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def recipe(settings, tmp_path):
    """The toy recipe as a file, with many validations."""
    (tmp_path / "settings.json").write_text(json.dumps(config.to_json(settings)))
    path = tmp_path / "toy.py"
    path.write_text(RECIPE.format(path=str(tmp_path / "settings.json")))
    return path


def command(recipe, *arguments, devices=1, cwd=ROOT, before=()):
    """A process of the command line; its output comes through pipes."""
    environment = os.environ | {
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}",
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "JAX_COMPILATION_CACHE_DIR": str(recipe.parent / "xla"),
    }
    line = [*before, sys.executable, "-m", "transformer", *arguments]
    return subprocess.Popen(line, env=environment, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def train(recipe, run, *more, **where):
    """A training process."""
    arguments = ["train", str(recipe), "--run", str(run), "--resume"]
    arguments += ["--training.steps", "400", "--training.validate-every", "5", "--task.validate-sentences", "0"]
    arguments += ["--task.metric", "loss", "--training.keep-last", "2", "--training.log-every", "1"]
    return command(recipe, *arguments, *more, **where)


def until(child, words):
    """Read the log until it contains the text; returns the log before it."""
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
def test_training_resumes_from_the_checkpoint_before_a_damaged_one(recipe, whole, tmp_path, damage):
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
    assert "resuming from step 95" in said
    assert (run / "damaged" / "100-1").is_dir(), "nothing is thrown away"
    assert_identical(run, whole)


def jobs(processes, start):
    """Processes that `start` starts, with the flags of each process of one job."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        coordinator = f"localhost:{free.getsockname()[1]}"
    job = ["--cluster.coordinator", coordinator, "--cluster.processes", str(processes), "--cluster.process"]
    return [start([*job, str(process)]) for process in range(processes)]


def together(recipe, run, *more, each=((), ()), places=({}, {}), devices=4):
    """Two training processes of one job; `each`: further flags of either, `places`: where they are started."""
    own = iter(zip(each, places, strict=True))

    def start(job):
        flags, place = next(own)
        return train(recipe, run, *more, *flags, *job, devices=devices, **place)

    return jobs(2, start)


def ended(children, timeout=300):
    """(exit code, output) of each. Both are read at the same time: a process with unread output never ends."""
    with ThreadPoolExecutor(len(children)) as pool:
        said = list(pool.map(lambda child: child.communicate(timeout=timeout)[1], children))
    return [(child.returncode, words) for child, words in zip(children, said, strict=True)]


@pytest.mark.parametrize(
    "mesh",
    [("--mesh.data", "-1"), ("--mesh.data", "1", "--mesh.fsdp", "8"), ("--mesh.data", "1", "--mesh.model", "8")],
    ids=["data", "fsdp", "model"],
)
def test_a_request_to_stop_reaches_all_processes(recipe, tmp_path, mesh):
    run, long = tmp_path / "run", ("--training.steps", "100000", *mesh)
    children = together(recipe, run, *long)
    until(children[0], COMPILED)
    time.sleep(3)
    children[1].send_signal(signal.SIGTERM)
    for code, said in ended(children):
        assert code == 130, said
        assert "stopped and saved at step" in said
    saved = max(int(path.name) for path in Run(run).checkpoints.iterdir() if path.name.isdigit())
    to_the_end(recipe, run, "--training.steps", str(saved + 5))
    steps = [r["step"] for r in logbook.read(Run(run).metrics) if r["kind"] == "train"]
    assert steps == list(range(1, saved + 6))


def test_processes_with_different_settings_end_at_once(recipe, tmp_path):
    children = together(recipe, tmp_path / "run", each=[(), ("--task.label-smoothing", "0.2")])
    for code, said in ended(children, 120):
        assert code == 2
        assert "--task.label-smoothing is 0.1 in process 0 and 0.2 in process 1" in said


NO_LARGE_FILES = ["bash", "-c", 'ulimit -f 20; exec "$@"', "limited"]
"""Before a command: no file over 20 KiB, like a quota, which cannot be queried in advance."""


@pytest.mark.parametrize("limited", [0, 1])
def test_a_checkpoint_that_one_process_cannot_write_ends_the_job(recipe, tmp_path, limited):
    places = [{}, {}]
    places[limited] = {"before": NO_LARGE_FILES}
    long = ("--training.steps", "100000", "--mesh.data", "1", "--mesh.fsdp", "8", "--model.width", "128")
    children = together(recipe, tmp_path / "run", *long, places=places)
    codes, said = zip(*ended(children, 120), strict=True)
    assert codes[limited] == 1, said
    assert "cannot be written" in said[limited]
    assert codes[1 - limited] not in (0, None)


def test_a_failure_of_one_process_ends_the_others(recipe, tmp_path):
    """Its storage is not that of the others."""
    (tmp_path / "elsewhere").mkdir()
    places = [{"cwd": tmp_path}, {"cwd": tmp_path / "elsewhere"}]
    (first, _), (other, said) = ended(together(recipe, Path("run"), places=places), 120)
    assert other == 1
    assert "process 1 does not see what process 0 wrote" in said
    assert first not in (0, None)


def test_two_processes_evaluate_as_one(recipe, tmp_path):
    run = tmp_path / "run"
    to_the_end(recipe, run, "--training.steps", "40")
    alone = command(recipe, "evaluate", str(run)).communicate(timeout=300)[0]
    report = json.loads((Run(run).report / "test.json").read_text())
    hypotheses = (Run(run).report / "test.hypotheses").read_text()
    both = [
        child.communicate(timeout=300)[0] for child in jobs(2, lambda job: command(recipe, "evaluate", str(run), *job))
    ]
    said = [[line for line in text.splitlines() if not line.startswith("[Gloo]")] for text in both]
    assert not said[1], "one of them tells what all do"
    assert said[0][1:4] == alone.splitlines()[1:4]
    assert (Run(run).report / "test.hypotheses").read_text() == hypotheses
    again = json.loads((Run(run).report / "test.json").read_text())
    assert again["scores"] == report["scores"]
    np.testing.assert_allclose(again["perplexity"], report["perplexity"], rtol=1e-5)


def test_a_run_resumes_on_any_number_of_devices(recipe, tmp_path):
    alone, run = tmp_path / "alone", tmp_path / "run"
    to_the_end(recipe, alone, "--training.steps", "40")
    to_the_end(recipe, run, "--training.steps", "10", devices=8)
    to_the_end(recipe, run, "--training.steps", "20")
    children = together(recipe, run, "--training.steps", "30", "--mesh.data", "2", "--mesh.fsdp", "4")
    for child in children:
        said = child.communicate(timeout=600)[1]
        assert child.returncode == 0, said
    to_the_end(recipe, run, "--training.steps", "35", devices=3)  # by which no batch divides
    to_the_end(recipe, run, "--training.steps", "40", devices=16)
    losses = [[r["loss"] for r in logbook.read(Run(f).metrics) if r["kind"] == "train"] for f in (alone, run)]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4)


@pytest.mark.parametrize("killed", [0, 1])
def test_a_killed_process_ends_the_others_and_the_job_resumes(recipe, tmp_path, killed):
    run = tmp_path / "run"
    children = together(recipe, run, "--training.steps", "100000")
    until(children[0], COMPILED)
    while not list(Run(run).checkpoints.glob("*[0-9]")):
        time.sleep(0.1)
    time.sleep(1)
    children[killed].kill()
    began = time.monotonic()
    said = children[1 - killed].communicate(timeout=120)[1]
    assert children[1 - killed].returncode not in (0, None)
    assert time.monotonic() - began < 120
    assert "another process of the job ended or cannot be reached" in said or "another task died" in said, said
    assert "Traceback" not in said
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
    """A separate small file system, which only root can create."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a file system can be mounted by root only")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_loses_nothing_that_was_saved(recipe, tmp_path, disk):
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


def test_a_disk_filled_by_logs_also_ends_the_run(recipe, disk):
    """Without room for a line, long before the next checkpoint."""
    rarely = ("--training.validate-every", "100000")
    to_the_end(recipe, disk / "run", "--training.steps", "10", *rarely)
    (disk / "rest").write_bytes(bytes(shutil.disk_usage(disk).free - 8_192))
    child = train(recipe, disk / "run", "--training.steps", "100000", *rarely)
    said = child.communicate(timeout=120)[1]
    assert child.returncode == 1, said
    assert "No space left" in said
    assert "Traceback" not in said


def test_a_read_only_disk_is_reported(recipe, disk):
    to_the_end(recipe, disk / "run", "--training.steps", "10")
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    child = train(recipe, disk / "run", "--training.steps", "20")
    said = child.communicate(timeout=600)[1]
    assert child.returncode == 1
    assert "cannot write to the run directory" in said
    assert "Traceback" not in said
    assert api.load(disk / "run", "last").checkpoint == "step 10"


def test_an_unwritable_folder_is_reported(recipe, tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    (tmp_path / "locked").mkdir(mode=0o500)
    child = train(recipe, tmp_path / "locked" / "run")
    said = child.communicate(timeout=600)[1]
    assert child.returncode == 1
    assert "Permission denied" in said
