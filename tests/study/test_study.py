"""Running studies: many trials by workers (stand-ins that train nothing), and real workers that are killed."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.study.conftest import entry, wait
from transformer import cli
from transformer.errors import InterruptedRunError, TransformerError, UsageError
from transformer.storage.locks import file_lock
from transformer.study import runner, variants, workers
from transformer.study.run import run_study, runs_folder

STAND_IN = """
import fcntl, json, os, sys, time
from pathlib import Path

given = dict(zip(sys.argv, sys.argv[1:]))
runs, key = Path(given["--runs"]), given["--trial"]
about = json.loads(Path({path!r}).read_text())
name, result = about["results"][key]
handle = os.open(runs / (name + ".lock"), os.O_RDWR | os.O_CREAT)
try:
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    sys.exit("transformer: another process is running it")
if (runs / name / "result.json").exists():
    sys.exit(0)
with (runs / "began").open("a") as log:
    log.write(json.dumps([name, sorted(os.sched_getaffinity(0)), os.environ.get("CUDA_VISIBLE_DEVICES"), time.time()]))
    log.write(chr(10))
time.sleep(about["seconds"])
if name in about["failing"]:
    sys.exit("transformer: no luck")
(runs / name).mkdir(exist_ok=True)
(runs / name / "new").write_text(json.dumps(result))
os.replace(runs / name / "new", runs / name / "result.json")
"""


@pytest.fixture
def stand_in(folder, tmp_path, monkeypatch):
    """Workers that leave ready results after a number of seconds; some fail."""

    def prepare(seconds=0.1, failing=()):
        every = variants.trials(variants.load(folder), full=True)
        ready = {one.key: [one.name, entry(one.settings, one.variant, one.seed)] for one in every}
        path = tmp_path / "about.json"
        path.write_text(json.dumps({"results": ready, "seconds": seconds, "failing": list(failing)}))
        (tmp_path / "stand_in.py").write_text(STAND_IN.format(path=str(path)))
        monkeypatch.setattr(workers, "PROGRAM", (sys.executable, str(tmp_path / "stand_in.py")))
        monkeypatch.setattr(runner, "POLL_SECONDS", 0.02)
        monkeypatch.setattr(runner, "SYNC_SECONDS", 0.2)

    return prepare


def began(runs):
    """(name, cores, device, when) of each trial that was started."""
    return [json.loads(line) for line in (runs / "began").read_text().splitlines()]


def test_missing_trials_are_run_and_reported(folder, tmp_path, stand_in, capsys):
    stand_in()
    runs = tmp_path / "runs"
    run_study(folder, runs=runs, only=("plain",))
    assert [name for name, *_ in began(runs)] == ["plain-1"]
    assert "Not yet run: dot-1, dot-2." in capsys.readouterr().out
    run_study(folder, runs=runs)
    assert [name for name, *_ in began(runs)] == ["plain-1", "dot-1", "dot-2"]
    out, err = capsys.readouterr()
    assert "Not yet run" not in out
    assert "1 done, 1 running, 1 to come" in err
    run_study(folder, runs=runs)
    assert len(began(runs)) == 3
    assert list(json.loads((folder / "results.json").read_text())) == ["plain-1", "dot-1", "dot-2"]
    run_study(folder, runs=runs, full=True)
    assert [name for name, *_ in began(runs)][3:] == ["plain-2", "general-1"]


def test_trials_of_another_study_are_not_run_again(folder, tmp_path, stand_in, capsys):
    stand_in()
    other = shutil.copytree(folder, tmp_path / "others")
    run_study(other, runs=tmp_path / "runs", only=("dot",))
    file = folder / "study.py"
    file.write_text(file.read_text() + 'study = dataclasses.replace(study, reuse_from=("../others",))\n')
    run_study(folder, runs=tmp_path / "more")
    assert [name for name, *_ in began(tmp_path / "more")] == ["plain-1"]
    kept, others = (json.loads((path / "results.json").read_text()) for path in (folder, other))
    assert [kept[name].pop("from") for name in ("dot-1", "dot-2")] == ["others/dot-1", "others/dot-2"]
    assert others == {name: kept[name] for name in ("dot-1", "dot-2")}


@pytest.mark.slow
def test_workers_run_in_parallel_on_their_own_cores(folder, tmp_path, stand_in):
    stand_in(seconds=1.0)
    runs = tmp_path / "runs"
    run_study(folder, runs=runs, full=True, num_workers=2)
    found = began(runs)
    assert sorted(name for name, *_ in found) == ["dot-1", "dot-2", "general-1", "plain-1", "plain-2"]
    assert found[1][3] - found[0][3] < 1.0  # the second did not wait for the first
    available = workers.available_cores()
    if len(available) > 1:
        assert not set(found[0][1]) & set(found[1][1])
        assert sorted({*found[0][1], *found[1][1]}) == available
    assert workers.available_cores() == available  # this process has what it had


def test_the_other_trials_run_despite_a_failed_one(folder, tmp_path, stand_in, capsys):
    stand_in(failing=["dot-1"])
    with pytest.raises(TransformerError, match=r"1 trial failed:\n  dot-1: no luck \(.*dot-1.log\)") as raised:
        run_study(folder, runs=tmp_path / "runs")
    assert raised.value.exit_code == 1
    assert [name for name, *_ in began(tmp_path / "runs")] == ["plain-1", "dot-1", "dot-2"]
    assert "Not yet run: dot-1." in capsys.readouterr().out


RUNNER = """
import sys
from pathlib import Path
from transformer.study import run, runner, workers
runner.POLL_SECONDS, runner.SYNC_SECONDS = 0.02, 0.2
workers.PROGRAM = (sys.executable, {stand_in!r})
run.run_study(Path({folder!r}), runs=Path({runs!r}), full=True)
"""


@pytest.mark.slow
def test_two_runners_share_the_trials(folder, tmp_path, stand_in):
    stand_in(seconds=0.8)
    runs = tmp_path / "runs"
    text = RUNNER.format(stand_in=str(tmp_path / "stand_in.py"), folder=str(folder), runs=str(runs))
    other = subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait(lambda: (runs / "began").exists())
    run_study(folder, runs=runs, full=True)  # both end when all is done
    assert other.wait(60) == 0
    names = [name for name, *_ in began(runs)]
    assert sorted(names) == ["dot-1", "dot-2", "general-1", "plain-1", "plain-2"]
    assert len(json.loads((folder / "results.json").read_text())) == 5


def test_a_killed_study_runs_only_missing_trials_again(folder, tmp_path, stand_in):
    stand_in(seconds=0.5)
    runs = tmp_path / "runs"
    text = RUNNER.format(stand_in=str(tmp_path / "stand_in.py"), folder=str(folder), runs=str(runs))
    runner = subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait(lambda: (runs / "plain-2" / "result.json").exists() and len(began(runs)) == 3)
    kill(runner)
    done = {path: path.stat().st_mtime_ns for path in runs.glob("*/result.json")}
    assert len(done) == 2
    run_study(folder, runs=runs, full=True)
    assert {path: path.stat().st_mtime_ns for path in done} == done
    names = [name for name, *_ in began(runs)]
    assert names == ["plain-1", "plain-2", "dot-1", "dot-1", "dot-2", "general-1"]


def kill(runner):
    """SIGKILL to a runner and to its workers, which are in separate sessions."""
    children = Path(f"/proc/{runner.pid}/task/{runner.pid}/children").read_text().split()
    os.kill(runner.pid, signal.SIGKILL)
    for child in children:
        os.kill(int(child), signal.SIGKILL)
    runner.wait()


def once(ready, act):
    """Act in a thread as soon as something is ready."""

    def watch():
        wait(ready)
        act()

    threading.Thread(target=watch, daemon=True).start()


def test_a_stopped_runner_stops_its_workers(folder, tmp_path, stand_in):
    stand_in(seconds=60)
    runs = tmp_path / "runs"
    once(lambda: (runs / "began").exists(), lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(InterruptedRunError, match="resume with the same command"):
        run_study(folder, runs=tmp_path / "runs")
    with file_lock(tmp_path / "runs" / "plain-1.lock") as ours:
        assert ours  # no worker is left


def test_a_stopped_runner_names_workers_that_did_not_save(folder, tmp_path, monkeypatch):
    program = "trap 'echo transformer: no space left; exit 1' TERM; echo ready; while :; do sleep 0.1; done"
    monkeypatch.setattr(workers, "PROGRAM", ("bash", "-c", program))
    log = tmp_path / "runs" / "plain-1.log"
    once(lambda: log.exists() and "ready" in log.read_text(), lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(InterruptedRunError, match=r"an earlier checkpoint:\n  plain-1: no space left \(.*.log\)"):
        run_study(folder, runs=tmp_path / "runs")


@pytest.mark.parametrize("name", ["broken", "dot-2"])
def test_a_damaged_result_does_not_affect_other_trials(name, folder, tmp_path, stand_in, capsys):
    """A file that is damaged while the others run, of this study or not; each failure has its reason."""
    stand_in(seconds=0.5, failing=["dot-1"])
    runs = tmp_path / "runs"
    (runs / name).mkdir(parents=True)
    once(lambda: (runs / "began").exists(), lambda: (runs / name / "result.json").write_text("{"))
    with pytest.raises(TransformerError) as raised:
        run_study(folder, runs=runs)
    text = str(raised.value)
    assert "dot-1: no luck" in text
    assert re.search(rf"{name}/result.json is damaged: .* \(move it away", text)
    others = ["plain-1", "dot-1"] + ["dot-2"] * (name == "broken")
    assert [name for name, *_ in began(runs)] == others
    done = [name for name in others if name != "dot-1"]
    assert list(json.loads((folder / "results.json").read_text())) == done
    assert "| plain | 1 |" in capsys.readouterr().out  # the tables are made all the same


def test_a_results_file_that_was_damaged_for_a_while_is_no_failure(folder, tmp_path, stand_in):
    stand_in(seconds=0.3)
    runs = tmp_path / "runs"
    results = folder / "results.json"

    def heal():
        once(lambda: (runs / "began").read_text().count("dot-2"), lambda: results.write_text("{}"))

    once(lambda: (runs / "began").exists(), lambda: (results.write_text("{"), heal()))
    run_study(folder, runs=runs)
    assert sorted(json.loads(results.read_text())) == ["dot-1", "dot-2", "plain-1"]


def test_shrunk_trials_have_their_own_folder(folder, tmp_path):
    assert runs_folder(folder, tmp_path / "runs", smoke=True) == tmp_path / "runs-smoke"
    assert runs_folder(folder, smoke=True) == Path("runs/toys-smoke")
    assert runs_folder(folder) == Path("runs/toys")
    for here in (Path(), Path("..")):
        directory = runs_folder(folder, here, smoke=True)
        assert (directory.parent, directory.name) == (here.resolve().parent, f"{here.resolve().name}-smoke")


@pytest.mark.slow
def test_a_study_resumes_after_its_runner_is_killed(folder, tmp_path):
    """Its worker, which is training, saves and ends; the next runner resumes it."""
    runs = tmp_path / "runs"
    command = [sys.executable, "-m", "transformer", "study", str(folder), "--runs", str(runs), "--only", "plain"]
    text = (tmp_path / "base.json").read_text()
    (tmp_path / "base.json").write_text(text.replace('"steps": 12', '"steps": 4000'))
    runner = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait(lambda: any('"train"' in path.read_text() for path in runs.glob("plain-1/metrics.jsonl")), 300)
    os.kill(runner.pid, signal.SIGKILL)
    runner.wait()

    def free():
        with file_lock(runs / "plain-1.lock") as ours:
            return ours

    wait(free, 120)
    log = (runs / "plain-1.log").read_text()
    assert "stopping after this update" in log
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stderr
    records = [json.loads(line) for line in (runs / "plain-1" / "metrics.jsonl").read_text().splitlines()]
    steps = [record["step"] for record in records if record["kind"] == "train"]
    assert steps == sorted(set(steps))  # nothing was trained twice
    assert steps[-1] == 4000


@pytest.mark.slow
def test_a_study_resumes_after_runner_and_workers_are_killed(folder, tmp_path):
    """Real workers, which train: SIGKILL once the first trial is done and the second trains; then the rest, twice."""
    runs = tmp_path / "runs"
    command = [sys.executable, "-m", "transformer", "study", str(folder), "--runs", str(runs)]
    runner = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait(lambda: (runs / "plain-1" / "result.json").exists() and (runs / "dot-1" / "metrics.jsonl").exists(), 900)
    kill(runner)
    before = {path: path.stat().st_mtime_ns for path in (runs / "plain-1").rglob("*")}
    done = subprocess.run([*command, "--workers", "2"], capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stderr
    assert {path: path.stat().st_mtime_ns for path in (runs / "plain-1").rglob("*")} == before
    assert sorted(json.loads((folder / "results.json").read_text())) == ["dot-1", "dot-2", "plain-1"]
    assert "Not yet run" not in done.stdout
    assert "| dot | 1, 2 |" in done.stdout


def test_settings_that_cannot_work_are_refused_before_any_trial_runs(folder, tmp_path):
    file = folder / "study.py"
    whole = file.read_text()
    file.write_text(whole.replace("model=model)", "model=dataclasses.replace(model, dropout=2.0))"))
    with pytest.raises(UsageError, match=r"the variant dot: --model.dropout"):
        run_study(folder, runs=tmp_path / "runs")
    file.write_text(whole)
    with pytest.raises(UsageError, match="--workers 0: at least 1"):
        run_study(folder, runs=tmp_path / "runs", num_workers=0)
    base = json.loads((tmp_path / "base.json").read_text())
    base["data"]["test"] = ""
    for source in ("files", "tfds:wmt14_translate/de-en"):
        base["data"]["source"] = source
        (tmp_path / "base.json").write_text(json.dumps(base))
        with pytest.raises(UsageError, match="the variant plain has no test set"):
            run_study(folder, runs=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "no study at nowhere"),
        (["FOLDER", "--only", "plane"], "did you mean plain"),
        (["FOLDER", "--trial", "plane-1"], "--trial plane-1: no such trial; did you mean plain-1"),
        (["FOLDER", "--workers", "0"], "--workers 0"),
        (["FOLDER", "--trial", "plain-1", "--slurm"], "--trial runs one trial .* cannot be combined with --slurm"),
        (["FOLDER", "--trial", "plain-1", "--only", "dot"], "cannot be combined with --only"),
        (["FOLDER", "--trial", "plain-1", "--workers", "2"], "cannot be combined with --workers"),
    ],
)
def test_usage_errors_name_the_right_one(arguments, message, folder, capsys):
    with pytest.raises(SystemExit) as exit_:
        cli.main(["study", *(str(folder) if word == "FOLDER" else word for word in arguments)])
    assert exit_.value.code == 2
    assert re.search(message, capsys.readouterr().err)


def test_study_and_report_refuse_a_damaged_results_file(folder, capsys):
    (folder / "results.json").write_text("{")
    for command in ("study", "report"):
        with pytest.raises(SystemExit) as exit_:
            cli.main([command, str(folder)])
        assert exit_.value.code == 1
        assert "results.json is damaged" in capsys.readouterr().err


def test_the_script_for_sbatch(folder, tmp_path, monkeypatch, capsys, stand_in):
    monkeypatch.chdir(tmp_path)
    runs = tmp_path / "my runs"
    stand_in()
    run_study(folder, runs=runs, only=("plain",))
    capsys.readouterr()
    run_study(folder, runs=runs, full=True, print_slurm=True)
    text = capsys.readouterr().out
    lines = text.splitlines()
    assert lines[0] == "#!/bin/bash"
    assert "#SBATCH --array=0-3" in lines
    assert "#SBATCH --job-name=toys" in lines
    assert f"#SBATCH --output='{runs}/slurm-%A_%a.log'" in lines
    assert "#SBATCH --open-mode=append" in lines  # what came before a task was requeued is kept
    made = f"made by transformer study {folder} --runs '{runs}' --slurm"
    assert lines[1] == f"# 4 trials of {folder}, one task each; {made}"
    first = lines.index("trials=(") + 1
    assert [line.split("@")[0].strip() for line in lines[first : first + 5]] == [
        *("plain-2", "dot-1", "dot-2", "general-1"),
        ")",
    ]
    assert max(n for n, line in enumerate(lines) if line.startswith("#SBATCH")) < lines.index("set -eu")
    assert runs.is_dir()  # SLURM does not make it, and writes there
    # bash runs it as SLURM would: in any folder, with the task's number.
    program = [sys.executable, str(tmp_path / "stand_in.py")]
    asked = text.replace(shlex.join([sys.executable, "-m", "transformer"]), shlex.join(program))
    environment = {**os.environ, "SLURM_ARRAY_TASK_ID": "2"}
    subprocess.run(["bash"], input=asked, text=True, cwd="/", env=environment, check=True)
    assert (runs / "dot-2" / "result.json").is_file()
    for one in ("0", "1", "3"):
        subprocess.run(["bash"], input=asked, text=True, env={**os.environ, "SLURM_ARRAY_TASK_ID": one}, check=True)
    with pytest.raises(UsageError, match="nothing is missing"):
        run_study(folder, runs=runs, full=True, print_slurm=True)
    assert len(json.loads((folder / "results.json").read_text())) == 5
