"""Worker processes, each of which runs one trial on its own cores or its own accelerator."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from transformer.errors import UsageError
from transformer.study.variants import Trial

PROGRAM = (sys.executable, "-m", "transformer")
"""The command of a worker, before its arguments."""
RUNNER = "TRANSFORMER_STUDY_RUNNER"
"""Environment variable of a worker: the process id of the runner that started it."""


class WorkerResources(NamedTuple):
    """The resources of one worker."""

    cores: frozenset[int]
    """Numbers of its cores; empty means any."""
    environment: dict[str, str]
    """Environment variables that select its accelerator."""


class Accelerators(NamedTuple):
    """The accelerators of this machine."""

    kind: str
    """`cuda` or `tpu`."""
    names: tuple[str, ...]

    def environment(self, number: int) -> dict[str, str]:
        """Environment variables with which a process sees only one of them."""
        name = self.names[number]
        if self.kind == "tpu":
            one = {"TPU_CHIPS_PER_PROCESS_BOUNDS": "1,1,1", "TPU_PROCESS_BOUNDS": "1,1,1"}
            return {"TPU_VISIBLE_CHIPS": name, **one}
        return {"CUDA_VISIBLE_DEVICES": name}


def accelerators(environment: Mapping[str, str], devices: Path = Path("/dev")) -> Accelerators | None:
    """NVIDIA GPUs or TPU chips, found without JAX, which would claim all of them; None if JAX uses the CPU.

    Respects CUDA_VISIBLE_DEVICES and TPU_VISIBLE_CHIPS.
    """
    if environment.get("JAX_PLATFORMS", "").split(",")[0] == "cpu":
        return None
    kinds = {"cuda": ("CUDA_VISIBLE_DEVICES", "nvidia[0-9]*"), "tpu": ("TPU_VISIBLE_CHIPS", "accel[0-9]*")}
    for kind, (variable, pattern) in kinds.items():
        present = [path.name.removeprefix(pattern[: pattern.index("[")]) for path in devices.glob(pattern)]
        names = environment[variable].split(",") if variable in environment else sorted(present, key=int)
        if present and names[0] not in ("", "-1"):
            return Accelerators(kind, tuple(names))
    return None


def divide(workers: int, cores: Sequence[int], devices: Accelerators | None) -> list[WorkerResources]:
    """Resources of each worker: an equal share of the cores, and one accelerator if there are any.

    A single worker keeps all accelerators, as `train` does.

    Raises UsageError for fewer than one worker, and for more workers than accelerators.
    """
    if workers < 1:
        raise UsageError(f"--workers {workers}: at least 1")
    if devices is not None and workers > len(devices.names):
        raise UsageError(
            f"--workers {workers}: each needs an accelerator, but this machine has {len(devices.names)} (with "
            "JAX_PLATFORMS=cpu in the environment, workers share the cores)"
        )
    edges = [k * len(cores) // workers for k in range(workers + 1)]
    resources = []
    for k in range(workers):
        own = cores[edges[k] : edges[k + 1]] or cores[edges[k] : edges[k] + 1]  # more workers than cores share them
        environment = devices.environment(k) if devices is not None and workers > 1 else {}
        resources.append(WorkerResources(frozenset(own), environment))
    return resources


def available_cores() -> list[int]:
    """Cores that this process may use; empty if the system does not say."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


@contextmanager
def stop_with_runner(environment: Mapping[str, str], every: float = 1.0) -> Iterator[None]:
    """Stops this worker when its runner dies, so that the workers of a later runner need not share its cores.

    The worker receives SIGTERM, upon which it saves and exits, as if the runner had stopped it.

    Args:
        environment: holds the runner's process id in RUNNER; without it nothing is watched.
        every: seconds between two checks.
    """
    runner, done = environment.get(RUNNER), threading.Event()

    def watch() -> None:
        while os.getppid() == int(runner or 0):
            if done.wait(every):
                return
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=watch, daemon=True)
    if runner:
        thread.start()
    try:
        yield
    finally:
        done.set()
        if runner:
            thread.join()


class Worker:
    """A process that runs one trial. Its output is appended to NAME.log in the folder of the run directories."""

    def __init__(self, trial: Trial, resources: WorkerResources, command: Sequence[str], runs: Path):
        self.trial, self.resources = trial, resources
        self._log = runs / f"{trial.name}.log"
        self._log_start = self._log.stat().st_size if self._log.exists() else 0
        variables = {"TQDM_MININTERVAL": "60", RUNNER: str(os.getpid())}  # its progress bar is written to a file
        with self._log.open("a", encoding="utf-8") as log:
            self._process = _start([*command, "--trial", trial.key], resources, variables, log)

    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    def stop(self) -> None:
        """Ask it to save and exit."""
        if self.exit_code() is None:
            self._process.send_signal(signal.SIGTERM)

    def wait(self) -> None:
        """Until it has exited."""
        self._process.wait()

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait()

    def failure_reason(self) -> str:
        """The signal that ended it, or the last line of its output."""
        code = self.exit_code()
        if code is not None and code < 0:
            memory = ", as the system does when memory runs out" * (code == -signal.SIGKILL)
            return f"{self.trial.name}: ended by {signal.Signals(-code).name}{memory} ({self._log})"
        text = self._log.read_bytes()[self._log_start :].decode("utf-8", errors="replace")
        lines = text.replace("\r", "\n").strip().splitlines()
        reason = lines[-1].removeprefix("transformer: ") if lines else f"exit code {code}"
        return f"{self.trial.name}: {reason} ({self._log})"


def _start(
    command: Sequence[str], resources: WorkerResources, variables: Mapping[str, str], log: IO[str]
) -> subprocess.Popen[bytes]:
    """Start a process on its cores.

    A child inherits the cores of the thread that starts it. Setting them between fork and exec is not safe in a process
    with threads.
    """
    before = available_cores()
    if resources.cores and before:
        os.sched_setaffinity(0, resources.cores)
    try:
        return subprocess.Popen(
            [*PROGRAM, *command],
            env={**os.environ, **resources.environment, **variables},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches the runner alone, which passes it on once
        )
    finally:
        if resources.cores and before:
            os.sched_setaffinity(0, before)
