"""Progress of the trials of a study: read from their metrics.jsonl, shown as lines of text."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from transformer.storage.run import Run
from transformer.study.variants import Trial
from transformer.training import logger

RECENT = 10
"""Records of training from which the speed is computed."""


class Progress(NamedTuple):
    """Progress of a run."""

    step: int
    """Updates done."""
    steps: int
    """Updates in all."""
    minutes_left: float | None
    """Minutes of training left, at the recent speed; None if the speed is not known yet."""


def read(folder: Path, steps: int) -> Progress:
    """Progress of a run of `steps` updates. Its log is being written, so damaged lines are not reported here."""
    records, _ = logger.parse(Run(folder).metrics)
    timed = [record for record in records if record["kind"] == "train" and "minutes" in record][-RECENT:]
    if not timed:
        return Progress(0, steps, None)
    first, last = timed[0], timed[-1]
    # A single record has the time since the run began, compilation included.
    since = (first["step"], first["minutes"]) if len(timed) > 1 else (0, 0.0)
    updates, minutes = last["step"] - since[0], last["minutes"] - since[1]
    left = (steps - last["step"]) * minutes / updates if updates > 0 else None
    return Progress(last["step"], steps, left)


def read_all(runs: Path, trials: Iterable[Trial]) -> dict[str, Progress]:
    """Progress of each trial, by its name."""
    return {trial.name: read(runs / trial.name, trial.settings.training.steps) for trial in trials}


def table(done: int, waiting: int, running: Mapping[str, Progress], elsewhere: int = 0) -> list[str]:
    """Lines: the number of trials that are done, and the progress of each that runs.

    Args:
        done: number of trials with a result.
        waiting: number of trials that no runner has started.
        running: trials that this runner runs.
        elsewhere: number of trials that another runner of the study runs.
    """
    others = f", {elsewhere} with another runner" if elsewhere else ""
    lines = [f"{done} done, {len(running)} running{others}, {waiting} to come"]
    width = max(map(len, running), default=0)
    for name, progress in running.items():
        if progress.step >= progress.steps:
            left = "evaluating"
        elif progress.minutes_left is None:
            left = ""
        else:
            left = f"{duration(progress.minutes_left)} of training left"
        lines.append(f"  {name:{width}}  {progress.step:>7,} / {progress.steps:,} updates  {left}".rstrip())
    return lines


def duration(minutes: float) -> str:
    """A duration such as "40 s", "12 min", "3.5 h"."""
    if minutes < 1:
        return f"{60 * minutes:.0f} s"
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"
