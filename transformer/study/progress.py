"""How far the runs of a study are: read from their metrics.jsonl, shown as lines."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from transformer.study.cells import Trial
from transformer.training import logger as logbook
from transformer.training.run_directory import Run

RECENT = 10
"""Lines of the log from which the speed is taken."""


class Far(NamedTuple):
    """Of a run in training."""

    done: int
    """Updates."""
    of: int
    minutes: float | None
    """Still to train, at the recent speed; None: nothing is known yet."""


def far(folder: Path, steps: int) -> Far:
    """How far a run is, of `steps` updates."""
    records = [record for record in logbook.read(Run(folder).metrics) if record["kind"] == "train"][-RECENT:]
    if not records:
        return Far(0, steps, None)
    first, last = records[0], records[-1]
    # A single line has the time since the run began, compilation included.
    since = (first["step"], first["minutes"]) if len(records) > 1 else (0, 0.0)
    updates, minutes = last["step"] - since[0], last["minutes"] - since[1]
    return Far(last["step"], steps, (steps - last["step"]) * minutes / updates if updates > 0 else None)


def table(done: int, waiting: int, running: Mapping[str, Far], elsewhere: int = 0) -> list[str]:
    """Lines: how many trials are done, and each that runs.

    Args:
        done: trials that have a result.
        waiting: those that no one runs yet.
        running: those that run here.
        elsewhere: those that another runner of the study is at.
    """
    there = f", {elsewhere} with another runner" if elsewhere else ""
    lines = [f"{done} done, {len(running)} running{there}, {waiting} to come"]
    width = max(map(len, running), default=0)
    for name, at in running.items():
        ready = at.done >= at.of
        left = "evaluating" if ready else "" if at.minutes is None else f"{duration(at.minutes)} of training left"
        lines.append(f"  {name:{width}}  {at.done:>7,} / {at.of:,} updates  {left}".rstrip())
    return lines


def duration(minutes: float) -> str:
    """Such as "40 s", "12 min", "3.5 h"."""
    if minutes < 1:
        return f"{60 * minutes:.0f} s"
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"


def running(runs: Path, trials: list[Trial]) -> dict[str, Far]:
    """How far each of them is."""
    return {trial.name: far(runs / trial.name, trial.settings.training.steps) for trial in trials}
