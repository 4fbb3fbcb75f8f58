"""Everything about an accelerator in one command of some ten minutes: python experiments/accelerators/check.py

Stages run one after another, each in its own process with a time limit. Each prints rows while it runs. A row is
written to results.jsonl as soon as it is printed, so a stage that fails or is stopped keeps its measurements, and the
following stages still run. table.md is made from results.jsonl after every stage.

    --smoke          tiny models and few updates: shows on any machine that every stage works
    --stages A B     only these, in this order
    --output DIR     a new or earlier folder for the results; the default is named after the device and the date
    --limit FACTOR   multiplies the time limits
"""

import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import tyro

HERE = Path(__file__).parent
STAGES = {"device": 40, "numerics": 180, "resume": 60, "speed": 180, "search": 60, "profile": 40, "peers": 40}
"""Seconds that each stage may take, compilation included."""
KILLED_AFTER = 5
"""Seconds between the request to stop and the end."""


@dataclass(frozen=True)
class Check:
    """Check an accelerator: numbers against the CPU, exact resume, speed, search, a profile, and a peer."""

    smoke: bool = False
    """Tiny models and few updates."""
    stages: tuple[str, ...] = tuple(STAGES)
    """The stages to run, in this order."""
    output: str = ""
    """Folder of the results."""
    limit: float = 1.0
    """Factor of the time limits."""

    def __call__(self) -> int:
        """The number of stages that failed or exceeded their limit."""
        unknown = [name for name in self.stages if name not in STAGES]
        if unknown:
            sys.exit(f"--stages has no {', '.join(unknown)}: choose among {', '.join(STAGES)}")
        folder = Path(self.output) if self.output else HERE / "results" / datetime.now(UTC).strftime("%Y-%m-%d-%H%M%S")
        folder.mkdir(parents=True, exist_ok=True)
        failed = 0
        for name in self.stages:
            print(f"{name}: at most {self.limit * STAGES[name]:.0f} s", flush=True)
            ended = run(name, folder / "results.jsonl", self.limit * STAGES[name], smoke=self.smoke)
            failed += ended != "done"
            (folder / "table.md").write_text(table(read(folder / "results.jsonl")), encoding="utf-8")
            print(f"{name}: {ended}", flush=True)
        print(f"{folder / 'table.md'}")
        return failed


def run(name: str, results: Path, limit: float, *, smoke: bool) -> str:
    """Run a stage and append its rows. Returns `done`, or why it ended."""
    command = [sys.executable, str(Path(__file__).resolve()), "--stage", name, *["--smoke"] * smoke]
    started = time.monotonic()
    with (
        results.open("a", encoding="utf-8") as file,
        (results.parent / f"{name}.log").open("w") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True) as process,
    ):
        stopped = threading.Event()

        def late() -> None:
            stopped.set()
            stop(process)

        timer = threading.Timer(limit, late)
        timer.start()

        def write(row: dict[str, Any]) -> None:
            when = {"stage": name, "at": round(time.monotonic() - started, 1), "smoke": smoke}
            file.write(json.dumps(when | row) + "\n")
            file.flush()

        assert process.stdout is not None
        for line in process.stdout:
            try:
                write(json.loads(line))
            except ValueError:  # what a library prints
                log.write(line)
        code = process.wait()
        timer.cancel()
        ended = "done" if code == 0 else f"time limit of {limit:.0f} s" if stopped.is_set() else f"exit code {code}"
        write({"ended": ended, "seconds": round(time.monotonic() - started, 1)})
    return ended


def stop(process: "subprocess.Popen[str]") -> None:
    """End a stage and the processes that it started."""
    for number, pause in ((signal.SIGTERM, KILLED_AFTER), (signal.SIGKILL, 0)):
        try:
            os.killpg(process.pid, number)
            process.wait(pause)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def read(results: Path) -> list[dict[str, Any]]:
    """All rows so far."""
    return [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines()]


def table(rows: list[dict[str, Any]]) -> str:
    """A Markdown table for each stage; the last run of a stage counts."""
    last: dict[str, list[dict[str, Any]]] = {}
    begun = set()
    for row in rows:
        if row["stage"] not in begun:
            begun.add(row["stage"])
            last[row["stage"]] = []
        last[row["stage"]].append(row)
        if "ended" in row:
            begun.discard(row["stage"])
    return "\n".join("\n".join(part(name, found)) for name, found in last.items())


def part(name: str, rows: list[dict[str, Any]]) -> Iterator[str]:
    """The lines of a stage's table."""
    *measured, end = rows
    smoke = " (smoke: only that it works)" if end["smoke"] else ""
    yield f"## {name}{smoke}\n"
    columns = list(dict.fromkeys(key for row in measured for key in row if key not in ("stage", "at", "smoke")))
    if columns:
        yield f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}"
        for row in measured:
            yield f"| {' | '.join(cell(row.get(key, '')) for key in columns)} |"
        yield ""
    yield f"{end.get('ended', 'unfinished')}, {end.get('seconds', 0)} s.\n"


def cell(value: Any) -> str:
    """A value in the form of a table."""
    if isinstance(value, float):
        return f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value).replace("|", "/")


def stage(name: str, *, smoke: bool) -> None:
    """The work of a stage's process: print its rows."""
    sys.path.insert(0, str(HERE))
    for row in importlib.import_module(f"stage_{name}").rows(smoke=smoke):
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--stage"]:
        stage(sys.argv[2], smoke="--smoke" in sys.argv)
    else:
        sys.exit(min(tyro.cli(Check)(), 1))
