"""Processes that run trials side by side, each with its own cores, or its own accelerator."""

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
from transformer.study.cells import Trial

PROGRAM = (sys.executable, "-m", "transformer")
"""What a worker runs, before its arguments."""
RUNNER = "TRANSFORMER_STUDY_RUNNER"
"""In a worker's environment: the process that started it."""


class Place(NamedTuple):
    """What one worker may use."""

    cores: frozenset[int]
    """Empty: any."""
    environment: dict[str, str]
    """That gives it its accelerator."""


class Accelerators(NamedTuple):
    """Of this machine."""

    kind: str
    names: tuple[str, ...]

    def only(self, number: int) -> dict[str, str]:
        """Environment in which a process sees one of them."""
        name = self.names[number]
        if self.kind == "tpu":
            one = {"TPU_CHIPS_PER_PROCESS_BOUNDS": "1,1,1", "TPU_PROCESS_BOUNDS": "1,1,1"}
            return {"TPU_VISIBLE_CHIPS": name, **one}
        return {"CUDA_VISIBLE_DEVICES": name}


def accelerators(environment: Mapping[str, str], devices: Path = Path("/dev")) -> Accelerators | None:
    """NVIDIA's GPUs or TPU chips, found without JAX, which would take hold of all of them. None: JAX is to use the CPU.

    Those that CUDA_VISIBLE_DEVICES or TPU_VISIBLE_CHIPS leave out are left out.
    """
    if environment.get("JAX_PLATFORMS", "").split(",")[0] == "cpu":
        return None
    kinds = {"cuda": ("CUDA_VISIBLE_DEVICES", "nvidia[0-9]*"), "tpu": ("TPU_VISIBLE_CHIPS", "accel[0-9]*")}
    for kind, (variable, pattern) in kinds.items():
        there = [path.name.removeprefix(pattern[: pattern.index("[")]) for path in devices.glob(pattern)]
        names = environment[variable].split(",") if variable in environment else sorted(there, key=int)
        if there and names[0] not in ("", "-1"):
            return Accelerators(kind, tuple(names))
    return None


def places(workers: int, cores: Sequence[int], found: Accelerators | None) -> list[Place]:
    """A place for each worker: an equal share of the cores, and on accelerators one device.

    Raises UsageError for fewer than one, and for more workers than devices.
    """
    if workers < 1:
        raise UsageError(f"--workers {workers}: at least 1")
    if found is not None and workers > len(found.names):
        raise UsageError(
            f"--workers {workers}: each has an accelerator, and there are {len(found.names)} (with JAX_PLATFORMS=cpu "
            "in the environment they share the cores)"
        )
    edges = [k * len(cores) // workers for k in range(workers + 1)]
    found_places = []
    for k in range(workers):
        own = cores[edges[k] : edges[k + 1]] or cores[edges[k] : edges[k] + 1]  # more workers than cores share them
        # A single worker keeps all devices, as `train` does.
        found_places.append(Place(frozenset(own), found.only(k) if found is not None and workers > 1 else {}))
    return found_places


def available() -> list[int]:
    """Cores of this process; none where the system does not tell."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


@contextmanager
def following(environment: Mapping[str, str], every: float = 1.0) -> Iterator[None]:
    """A worker does not outlive its runner: one that is killed leaves no trials behind that the next runner's would
    have to share the cores or the accelerators with. The worker is asked to save and end, as by the runner itself.

    Args:
        environment: has the runner's process in RUNNER; without it, nothing is followed.
        every: seconds between two looks.
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
    """A process that runs one trial; what it prints is in NAME.log beside its run directory."""

    def __init__(self, trial: Trial, place: Place, command: Sequence[str], runs: Path):
        self.trial, self.place = trial, place
        self._log = runs / f"{trial.name}.log"
        self._before = self._log.stat().st_size if self._log.exists() else 0
        more = {"TQDM_MININTERVAL": "60", RUNNER: str(os.getpid())}  # its bar is in a file
        with self._log.open("a", encoding="utf-8") as log:
            self._process = _start([*command, "--trial", trial.key], place, more, log)

    def code(self) -> int | None:
        """Exit code, once it has ended."""
        return self._process.poll()

    def stop(self) -> None:
        """Ask it to save and end."""
        if self.code() is None:
            self._process.send_signal(signal.SIGTERM)

    def wait(self) -> None:
        """Until it has ended."""
        self._process.wait()

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait()

    def complaint(self) -> str:
        """Why it failed: the signal that ended it, or the last line of what it said."""
        code = self.code()
        if code is not None and code < 0:
            memory = ", as the system does when memory runs out" * (code == -signal.SIGKILL)
            return f"{self.trial.name}: ended by {signal.Signals(-code).name}{memory} ({self._log})"
        text = self._log.read_bytes()[self._before :].decode("utf-8", errors="replace")
        lines = text.replace("\r", "\n").strip().splitlines()
        said = lines[-1].removeprefix("transformer: ") if lines else f"exit code {code}"
        return f"{self.trial.name}: {said} ({self._log})"


def _start(command: Sequence[str], place: Place, more: Mapping[str, str], log: IO[str]) -> subprocess.Popen[bytes]:
    """A child has the cores of the thread that starts it. (To set them in between, after the fork, is not safe where
    there are threads.)"""
    before = available()
    if place.cores and before:
        os.sched_setaffinity(0, place.cores)
    try:
        return subprocess.Popen(
            [*PROGRAM, *command],
            env={**os.environ, **place.environment, **more},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for the runner, which passes it on once
        )
    finally:
        if place.cores and before:
            os.sched_setaffinity(0, before)
