"""Running a study: every trial that has no result yet is run by a worker, several side by side."""

import logging
import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from transformer.errors import InterruptedRunError, TransformerError, UsageError
from transformer.storage.locks import file_lock
from transformer.study import cells, progress, report, slurm, trial, workers
from transformer.study.cells import Trial
from transformer.study.results import Results, there
from transformer.study.workers import Place, Worker
from transformer.training.signals import stop_requests

log = logging.getLogger(__name__)

POLL = 0.5
"""Seconds between two looks at the workers."""
SAVED = (0, 130, -signal.SIGTERM)
"""Exit codes of a worker that was asked to stop: it was ready, it has saved, or there was nothing to save yet (its
training had not begun, or has ended)."""
STEALS = 10.0
"""Seconds between two looks at what other runners did."""


@dataclass(frozen=True)
class Task:
    """What `transformer study` was asked for."""

    study: Path
    """Its file, or its folder."""
    runs: Path | None = None
    """Where run directories are (of `smoke`, beside it); None: runs/ and the name of the study's folder."""
    only: tuple[str, ...] = ()
    full: bool = False
    smoke: bool = False
    """Every trial shrunk to seconds, one seed a cell; the results stay with the runs."""
    workers: int = 1
    trial: str | None = None
    """Run this one alone, in this process: its name, or its key."""
    slurm: bool = False
    """Print a job array and run nothing."""
    every: float = 60.0
    """Seconds between two tables of progress."""

    @property
    def directory(self) -> Path:
        """Of the runs."""
        whole = self.runs or Path("runs") / cells.home(self.study).resolve().name
        if not self.smoke:
            return whole
        whole = whole.resolve() if whole.name in ("", "..") else whole  # such as `.`
        return whole.with_name(whole.name + "-smoke")

    @property
    def folder(self) -> Path:
        """Of results.json and of what is made from it."""
        return self.directory if self.smoke else cells.home(self.study)


def study(task: Task) -> None:
    """Run what is missing of a study, and present what there is.

    Raises:
        UsageError: no such study, cell or trial; settings that cannot work.
        TransformerError: trials failed; the others are done.
        InterruptedRunError: Ctrl-C or SIGTERM; what was running has saved.
    """
    alone = {"--slurm": task.slurm, "--only": task.only, "--full": task.full, "--workers": task.workers != 1}
    if task.trial is not None and any(alone.values()):
        flag = next(flag for flag, given in alone.items() if given)
        raise UsageError(f"--trial runs one trial, here and now: it does not go with {flag}")
    found = cells.find(task.study)
    results = Results(task.folder / "results.json")
    if task.trial is not None:
        one = cells.named(found, task.trial, smoke=task.smoke)
        cells.check([one])
        if results.of(one) is not None:
            log.info("%s is done: %s has its result", one.name, results.path)
            return
        with workers.following(os.environ):
            trial.run(one, task.directory)
        results.collect(task.directory)
        return
    wanted = cells.trials(found, task.only, full=task.full, smoke=task.smoke)
    cells.check(wanted)
    where = workers.places(task.workers, workers.available(), workers.accelerators(os.environ))
    task.directory.mkdir(parents=True, exist_ok=True)
    results.collect(task.directory)
    missing = [one for one in wanted if results.of(one) is None]
    if not task.smoke:
        missing = results.borrow(missing, [task.folder / other / "results.json" for other in found.beside])
    for one in missing:
        trial.check(task.directory / one.name, one)
    if task.slurm:
        if not missing:
            raise UsageError(f"nothing is missing in {results.path}: there is no job to submit")
        print(slurm.script(task.study, task.runs, task.directory, missing, smoke=task.smoke), end="")
        return
    complaints = _run_all(task, results, wanted, missing, where) if missing else {}
    unread = _collect(results, task.directory)
    failed = [why for one, why in complaints.items() if results.of(one) is None]  # what was in the way may be gone
    if any(results.of(one) is not None for one in cells.trials(found, full=True, smoke=task.smoke)):
        report.report(found, results, task.folder, smoke=task.smoke)
    told = [f"{len(failed)} trial(s) failed:\n  " + "\n  ".join(failed)] * bool(failed) + [unread] * bool(unread)
    if told:
        raise TransformerError("\n".join(told))


def _run_all(
    task: Task, results: Results, wanted: Sequence[Trial], missing: Sequence[Trial], where: Sequence[Place]
) -> dict[Trial, str]:
    """Complaints of those that failed. Other runners of the same study share the work: what they hold is left to them,
    and this one waits until all is done."""
    command = ["study", str(task.study), *["--runs", str(task.runs)] * (task.runs is not None)]
    command += ["--smoke"] * task.smoke
    waiting, running, failed = list(missing), list[Worker](), dict[Trial, str]()
    shown = looked = time.monotonic()
    told = _Told()

    def fail(one: Trial, why: str) -> _Told:
        failed[one] = why
        log.warning("failed: %s", why)
        return _Told()  # the table goes on below it

    with stop_requests("stopping ...") as stop:
        try:
            while waiting or running:
                for worker in [one for one in running if one.code() is not None]:
                    running.remove(worker)
                    unread = _collect(results, task.directory)
                    if results.of(worker.trial) is None and not _taken(task.directory, worker.trial):
                        alright = worker.code() == 0 and unread
                        told = fail(worker.trial, f"{worker.trial.name}: {unread}" if alright else worker.complaint())
                    elif results.of(worker.trial) is None:  # another runner was quicker
                        waiting.append(worker.trial)
                now = time.monotonic()
                if now - looked > STEALS:
                    looked = now
                    _collect(results, task.directory)
                    waiting = [one for one in waiting if results.of(one) is None]
                free = [place for place in where if all(worker.place is not place for worker in running)]
                for place in free:
                    one = next((one for one in waiting if not _taken(task.directory, one)), None)
                    if one is None:
                        break
                    waiting.remove(one)
                    shown = 0.0
                    try:
                        if not there(task.directory / one.name, one):  # or another runner has just done it
                            running.append(Worker(one, place, command, task.directory))
                    except TransformerError as error:
                        told = fail(one, f"{one.name}: {error}")
                if now - shown > task.every:
                    shown = now
                    told.show(task.directory, len(wanted) - len(failed), waiting, [one.trial for one in running])
                if stop:
                    raise InterruptedRunError(_saved(running))
                time.sleep(POLL)
        except InterruptedRunError:
            raise
        except Exception:
            if running:
                log.warning("%s", _saved(running))
            raise
        finally:
            for worker in running:
                worker.kill()
    return failed


class _Told:
    """The table of progress on standard error; on a terminal in its place."""

    def __init__(self) -> None:
        self._lines = 0

    def show(self, runs: Path, trials: int, waiting: Sequence[Trial], here: Sequence[Trial]) -> None:
        elsewhere = sum(_taken(runs, one) for one in waiting)
        lines = progress.table(
            trials - len(waiting) - len(here), len(waiting) - elsewhere, progress.running(runs, list(here)), elsewhere
        )
        up = f"\x1b[{self._lines}A\x1b[J" if self._lines and sys.stderr.isatty() else ""
        print(up + "\n".join(lines), file=sys.stderr, flush=True)
        self._lines = len(lines)


def _taken(runs: Path, one: Trial) -> bool:
    """Whether a process is at it."""
    path = trial.lock(runs, one)
    if not path.exists():
        return False
    with file_lock(path) as ours:
        return not ours


def _collect(results: Results, runs: Path) -> str:
    """Why what lies in run directories cannot be taken over now; "" where it is. The other trials go on meanwhile."""
    try:
        results.collect(runs)
    except (TransformerError, OSError) as error:
        return str(error)
    return ""


def _saved(running: Sequence[Worker]) -> str:
    """Let all of them save and end, and tell which did not. A second request ends them at once."""
    left = [worker for worker in running if worker.code() is None]
    if left:
        log.warning("waiting until %d run(s) have saved ...", len(left))
    for worker in left:
        worker.stop()
    for worker in left:
        worker.wait()
    unsaved = [worker.complaint() for worker in left if worker.code() not in SAVED]
    if unsaved:
        return "stopped; the same command goes on, from what these saved last:\n  " + "\n  ".join(unsaved)
    return "stopped; what was running has saved: go on with the same command"
