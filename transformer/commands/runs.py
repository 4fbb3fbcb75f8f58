"""`transformer runs`: the runs of a folder as a table."""

import logging
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import tyro

from transformer.commands.options import Command
from transformer.config import Config, read_about, read_config
from transformer.errors import TransformerError, UsageError
from transformer.storage.run import Run

log = logging.getLogger(__name__)

NOT_MEASURES = ("kind", "step", "loss", "perplexity", "seconds", "compilations")
"""What a validation records in addition to the measures of its task."""


@dataclass(frozen=True)
class Runs(Command):
    """List the runs of a folder, the most recently changed first.

    Shows for each run its recipe, the number of updates, the best validation, its size on disk and its last change.
    Subfolders, such as those of studies, are searched too.
    """

    folder: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="FOLDER")] = "runs"
    """Folder that holds the runs; the default is runs."""

    def check(self) -> None:
        if not Path(self.folder).is_dir():
            raise UsageError(f"there is no folder {self.folder}: give the folder that holds your runs")

    def execute(self) -> None:
        """Print the table. A run that cannot be read is named in the log."""
        rows, folder = list[Row](), Path(self.folder)
        for run in found(folder):
            try:
                rows.append(row(run, folder))
            except (TransformerError, ValueError, KeyError) as error:
                log.warning("%s cannot be read: %s", run, error)
        rows.sort(key=lambda one: one.changed, reverse=True)
        print(table(rows) if rows else f"there is no run in {folder}")


class Row(NamedTuple):
    """A row of the table."""

    name: str
    """Its path below the folder."""
    recipe: str
    step: int
    best: str
    """The best validation by the measure that decides; "" if there was none."""
    size: int
    """Bytes."""
    changed: float
    """Seconds since 1970."""


def found(folder: Path) -> Iterator[Path]:
    """The run directories in a folder; the folders in a run are not searched."""
    for path, folders, files in os.walk(folder):
        folders.sort()
        if "config.json" in files:
            folders.clear()
            yield Path(path)


def row(run: Path, folder: Path) -> Row:
    """The row of the run in a folder. Raises TransformerError, ValueError or KeyError if it is damaged."""
    from transformer.training.logger import read

    settings = read_config(run)
    about = read_about(run)
    records = read(Run(run).metrics)
    files = [path.stat() for path in run.rglob("*") if path.is_file()]
    return Row(
        run.relative_to(folder).as_posix() if run != folder else run.name,
        str(about.get("recipe", "")),
        max((record["step"] for record in records), default=0),
        best(records, settings),
        sum(file.st_size for file in files),
        max(file.st_mtime for file in files),
    )


def deciding(records: Sequence[Mapping[str, Any]], settings: Config) -> str:
    """The measure of validations that decides: the metric of the task's settings, or the first measure recorded."""
    names = (name for record in records if record["kind"] == "validation" for name in record)
    measured = next((name for name in names if name not in NOT_MEASURES), "loss")
    return getattr(settings.task, "metric", measured)


def best(records: Sequence[Mapping[str, Any]], settings: Config) -> str:
    """The best validation, by the measure that decides."""
    from transformer.evaluation.measures import written

    metric = deciding(records, settings)
    known = [
        record for record in records if record["kind"] == "validation" and math.isfinite(record.get(metric, math.nan))
    ]
    if not known:
        return ""
    highest = max(known, key=lambda record: -record[metric] if metric == "loss" else record[metric])
    return f"{written(metric)} {highest[metric]:.4g} at {highest['step']}"


def table(rows: Sequence[Row]) -> str:
    """A line for each run."""
    cells = [("run", "recipe", "step", "best validation", "size", "last change")]
    for one in rows:
        changed = datetime.fromtimestamp(one.changed).strftime("%Y-%m-%d %H:%M")
        cells.append((one.name, one.recipe, f"{one.step:,}", one.best, megabytes(one.size), changed))
    return aligned(cells, "<<><><")


def aligned(rows: Sequence[Sequence[str]], sides: str) -> str:
    """Columns of equal width, each aligned to the left (<) or right (>)."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(row, sides, widths, strict=True)).rstrip()
        for row in rows
    )


def megabytes(size: int) -> str:
    """Bytes in MB of a million."""
    return f"{size / 1e6:,.0f} MB" if size >= 10e6 else f"{size / 1e6:.1f} MB"
