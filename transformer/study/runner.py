"""The runner of a study: starts workers, collects their results, and shares the trials with other runners."""

import logging
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from transformer.errors import InterruptedRunError, TransformerError
from transformer.plurals import counted
from transformer.storage.locks import file_lock
from transformer.study import progress, results, trial
from transformer.study.results import Results
from transformer.study.variants import Trial
from transformer.study.workers import Worker, WorkerResources
from transformer.training.signals import stop_requests

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5
"""Between two checks of the workers."""
SYNC_SECONDS = 10.0
"""Between two checks of what other runners have done."""
CLEAN_EXITS = (0, 130, -signal.SIGTERM)
"""Exit codes of a worker that was asked to stop: it was done, it has saved, or it had nothing to save (its training had
not started, or was complete)."""


class Runner:
    """Runs trials by workers. Several runners of one study share its trials: each waits until all are done."""

    def __init__(
        self,
        results: Results,
        runs: Path,
        command: Sequence[str],
        resources: Sequence[WorkerResources],
        progress_seconds: float,
    ):
        """
        Args:
            results: of the study.
            runs: folder of the run directories.
            command: arguments of a worker, except --trial.
            resources: of each worker.
            progress_seconds: between two tables of progress.
        """
        self._results, self._runs, self._command, self._resources = results, runs, command, resources
        self._progress_seconds = progress_seconds
        self._waiting, self._running = list[Trial](), list[Worker]()
        self._reasons = dict[Trial, str]()
        self._printer = _ProgressPrinter()

    def run(self, missing: Sequence[Trial], total: int) -> dict[Trial, str]:
        """Run trials until each has a result or has failed.

        Args:
            missing: trials without a result.
            total: number of trials, those with a result included.

        Returns the failed trials, each with the reason. Raises InterruptedRunError on Ctrl-C or SIGTERM, when the
        workers have saved.
        """
        self._waiting = list(missing)
        printed = synced = time.monotonic()
        with stop_requests("stopping ...") as stop:
            try:
                while self._waiting or self._running:
                    self._finish()
                    now = time.monotonic()
                    if now - synced > SYNC_SECONDS:
                        synced = now
                        collect(self._results, self._runs)
                        self._waiting = [one for one in self._waiting if self._results.get(one) is None]
                    if self._start():
                        printed = 0.0
                    if now - printed > self._progress_seconds:
                        printed = now
                        self._print_progress(total)
                    if stop:
                        raise InterruptedRunError(self._save())
                    time.sleep(POLL_SECONDS)
            except InterruptedRunError:
                raise
            except Exception:
                if self._running:
                    log.warning("%s", self._save())
                raise
            finally:
                for worker in self._running:
                    worker.kill()
        return self._reasons

    def _finish(self) -> None:
        """Collect the results of workers that have exited."""
        for worker in [worker for worker in self._running if worker.exit_code() is not None]:
            self._running.remove(worker)
            unread = collect(self._results, self._runs)
            if self._results.get(worker.trial) is not None:
                continue
            if self._is_taken(worker.trial):  # another runner was quicker
                self._waiting.append(worker.trial)
            elif worker.exit_code() == 0 and unread:
                self._fail(worker.trial, f"{worker.trial.name}: {unread}")
            else:
                self._fail(worker.trial, worker.failure_reason())

    def _start(self) -> bool:
        """Start workers on free resources; whether any trial was started or has failed."""
        started = False
        busy = [worker.resources for worker in self._running]
        for resources in self._resources:
            if any(resources is other for other in busy):
                continue
            chosen = next((one for one in self._waiting if not self._is_taken(one)), None)
            if chosen is None:
                break
            self._waiting.remove(chosen)
            started = True
            try:
                if not results.exists(self._runs / chosen.name, chosen):  # another runner may just have finished it
                    self._running.append(Worker(chosen, resources, self._command, self._runs))
            except TransformerError as error:
                self._fail(chosen, f"{chosen.name}: {error}")
        return started

    def _fail(self, failed: Trial, reason: str) -> None:
        self._reasons[failed] = reason
        log.warning("failed: %s", reason)
        self._printer = _ProgressPrinter()  # the next table is printed below the warning

    def _is_taken(self, one: Trial) -> bool:
        """Whether a process runs a trial."""
        path = trial.lock(self._runs, one)
        if not path.exists():
            return False
        with file_lock(path) as ours:
            return not ours

    def _print_progress(self, total: int) -> None:
        running = [worker.trial for worker in self._running]
        elsewhere = sum(self._is_taken(one) for one in self._waiting)
        done = total - len(self._reasons) - len(self._waiting) - len(running)
        self._printer.show(
            progress.table(
                done, len(self._waiting) - elsewhere, progress.read_all(self._runs, running), elsewhere=elsewhere
            )
        )

    def _save(self) -> str:
        """Stop all workers and wait until they have saved; a message for the user. A second request ends them at
        once."""
        workers = [worker for worker in self._running if worker.exit_code() is None]
        if workers:
            log.warning("waiting for %s to save ...", counted(len(workers), "run"))
        for worker in workers:
            worker.stop()
        for worker in workers:
            worker.wait()
        unsaved = [worker.failure_reason() for worker in workers if worker.exit_code() not in CLEAN_EXITS]
        if unsaved:
            return "stopped; the same command resumes, these from an earlier checkpoint:\n  " + "\n  ".join(unsaved)
        return "stopped; all running trials have saved: resume with the same command"


class _ProgressPrinter:
    """Prints tables of progress to standard error; on a terminal, each replaces the last."""

    def __init__(self) -> None:
        self._printed = 0

    def show(self, lines: Sequence[str]) -> None:
        up = f"\x1b[{self._printed}A\x1b[J" if self._printed and sys.stderr.isatty() else ""
        print(up + "\n".join(lines), file=sys.stderr, flush=True)
        self._printed = len(lines)


def collect(results: Results, runs: Path) -> str:
    """Collect the results of a folder of run directories; the reason if some cannot be read, "" otherwise. The other
    trials continue."""
    try:
        results.collect(runs)
    except (TransformerError, OSError) as error:
        return str(error)
    return ""
