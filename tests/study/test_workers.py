"""Workers: their cores and devices, the end of their runner, reasons for failures, progress."""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.study.conftest import wait
from transformer.errors import UsageError
from transformer.storage.run import Run
from transformer.study import progress, variants, workers
from transformer.study.workers import Accelerators, Worker, WorkerResources
from transformer.training import logger


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("echo before; kill -9 $$", "ended by SIGKILL, as the system does when memory runs out"),
        ("kill -TERM $$", "ended by SIGTERM"),
        (r"printf '10%%\r20%%\rtransformer: no luck\n'; exit 1", "no luck"),
        (r"printf '10%%\r20%%'; exit 1", "20%"),
        ("exit 3", "exit code 3"),
    ],
)
def test_why_a_worker_failed(program, message, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "PROGRAM", ("bash", "-c", program))
    one = variants.trials(variants.load(folder))[0]
    (tmp_path / "plain-1.log").write_text("output of an earlier worker\n")
    worker = Worker(one, WorkerResources(frozenset(), {}), [], tmp_path)
    worker.wait()
    assert worker.failure_reason() == f"plain-1: {message} ({tmp_path / 'plain-1.log'})"


FOLLOWER = """
import os, sys, time
from pathlib import Path
from transformer.study import workers

if len(sys.argv) > 2:
    with workers.stop_with_runner(os.environ, every=0.05):
        Path(sys.argv[1]).write_text(str(os.getpid()))
        time.sleep(60)
else:
    import subprocess

    environment = {**os.environ, workers.RUNNER: str(os.getpid())}
    subprocess.run([sys.executable, __file__, sys.argv[1], "worker"], env=environment)
"""


def test_a_worker_does_not_outlive_its_runner(tmp_path):
    (tmp_path / "follower.py").write_text(FOLLOWER)
    started = tmp_path / "started"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    runner = subprocess.Popen([sys.executable, str(tmp_path / "follower.py"), str(started)], env=environment)
    wait(lambda: started.exists() and started.read_text())
    worker = Path(f"/proc/{started.read_text()}/stat")
    time.sleep(0.2)
    assert runner.poll() is None
    assert worker.exists()  # as long as the runner lives
    runner.kill()
    runner.wait()
    wait(lambda: not worker.exists() or worker.read_text().split()[2] == "Z", 10)


def test_a_worker_is_stopped_only_after_its_runner_has_ended(monkeypatch):
    asked = []
    monkeypatch.setattr(os, "kill", lambda *given: asked.append(given))
    for environment, wanted in (({}, 0), ({workers.RUNNER: str(os.getppid())}, 0), ({workers.RUNNER: "1"}, 1)):
        before = threading.active_count()
        with workers.stop_with_runner(environment, every=0.01):
            time.sleep(0.1)
        assert len(asked) == (wanted if os.getppid() != 1 else 0)
        assert threading.active_count() <= before


def test_each_worker_has_its_own_cores_and_device(tmp_path):
    assert [sorted(each.cores) for each in workers.divide(2, [0, 1, 2, 3, 8], None)] == [[0, 1], [2, 3, 8]]
    assert [sorted(each.cores) for each in workers.divide(3, [4, 5], None)] == [[4], [4], [5]]
    assert workers.divide(2, [], None) == [WorkerResources(frozenset(), {})] * 2
    for name in ("nvidia0", "nvidia1", "nvidia10", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    found = workers.accelerators({}, tmp_path)
    assert found == Accelerators("cuda", ("0", "1", "10"))
    assert [each.environment for each in workers.divide(2, [0, 1], found)] == [
        {"CUDA_VISIBLE_DEVICES": "0"},
        {"CUDA_VISIBLE_DEVICES": "1"},
    ]
    assert workers.divide(1, [0, 1], found)[0].environment == {}  # alone it has all of them, as `train`
    with pytest.raises(UsageError, match="--workers 4: each needs an accelerator, but this machine has 3"):
        workers.divide(4, [0, 1], found)
    assert workers.accelerators({"CUDA_VISIBLE_DEVICES": "1,GPU-abc"}, tmp_path).names == ("1", "GPU-abc")
    for nothing in ({"CUDA_VISIBLE_DEVICES": ""}, {"CUDA_VISIBLE_DEVICES": "-1"}, {"JAX_PLATFORMS": "cpu"}):
        assert workers.accelerators(nothing, tmp_path) is None
    (tmp_path / "tpu").mkdir()
    assert workers.accelerators({}, tmp_path / "tpu") is None
    (tmp_path / "tpu" / "accel1").touch()
    assert workers.accelerators({}, tmp_path / "tpu").environment(0)["TPU_VISIBLE_CHIPS"] == "1"


def test_progress_is_read_from_the_log_of_each_run(tmp_path):
    run_ = Run(tmp_path / "a")
    run_.folder.mkdir()
    assert progress.read(run_.folder, 100) == (0, 100, None)
    records = [{"kind": "train", "step": 10, "loss": 3.0, "minutes": 5.0}]  # compilation included
    run_.metrics.write_text(json.dumps(records[0]) + "\n")
    assert progress.read(run_.folder, 100) == (10, 100, 45.0)
    records += [
        {"kind": "train", "step": 20, "loss": 2.0, "minutes": 6.0},
        {"kind": "validation", "step": 20, "loss": 2.5},
    ]
    run_.metrics.write_text("".join(json.dumps(record) + "\n" for record in records) + '{"kind": "tra')
    assert progress.read(run_.folder, 100) == (20, 100, 8.0)
    assert len(logger.read(run_.metrics)) == 3
    lines = progress.table(
        3,
        4,
        {
            "a-1": progress.Progress(20, 1_100, 8.0),
            "long-1": progress.Progress(5, 5, 0.0),
            "c": progress.Progress(0, 9, None),
        },
        2,
    )
    assert lines == [
        "3 done, 3 running, 2 with another runner, 4 to come",
        "  a-1          20 / 1,100 updates  8 min of training left",
        "  long-1        5 / 5 updates  evaluating",
        "  c             0 / 9 updates",
    ]
    assert [progress.duration(minutes) for minutes in (0.5, 12, 600)] == ["30 s", "12 min", "10.0 h"]
