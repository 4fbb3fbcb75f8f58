"""What a run records while it trains: metrics.jsonl, TensorBoard events, a curve, and a progress bar, or log lines if
standard error is not a terminal."""

import json
import logging
import sys
import time
from pathlib import Path
from typing import Any

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.summary import scalar
from tqdm import tqdm

from transformer.evaluation.measures import written
from transformer.plurals import counted
from transformer.storage.files import read_objects, write_text
from transformer.storage.run import Run
from transformer.training.curve import draw_curves

log = logging.getLogger(__name__)


class MetricLogger:
    """Writes each record to all destinations. Records are dicts with a `step` and a `kind` (train or validation)."""

    def __init__(self, run: Run, first_step: int, last_step: int, unit: str = "tokens", metric: str = "bleu"):
        """
        Args:
            run: to write to.
            first_step: updates done; records of later ones are dropped.
            last_step: the last update, for the time that is left.
            unit: what speed is in.
            metric: the measure of validations that decides, drawn with the loss.
        """
        self._run, self._unit, self._metric = run, unit, metric
        self._first, self._last, self._began = first_step, last_step, time.perf_counter()
        _forget_after(run.metrics, first_step)
        self._metrics = run.metrics.open("a", encoding="utf-8")
        # Written at once, not by a thread of the library, which a full disk would end silently.
        run.events.mkdir(exist_ok=True)
        self._events = EventsWriter(str(run.events / "events"))
        again = Event(step=first_step + 1, session_log=SessionLog(status=SessionLog.START))
        self._events.write_event(again)  # TensorBoard drops the records from there on
        # A bar in a file would be thousands of lines.
        self.bar = tqdm(
            total=last_step,
            initial=first_step,
            unit="update",
            dynamic_ncols=True,
            smoothing=0.1,
            disable=not sys.stderr.isatty(),
        )

    def write(self, kind: str, step: int, values: dict[str, float]) -> None:
        """Add a record."""
        self._metrics.write(json.dumps({"kind": kind, "step": step, **values}) + "\n")
        self._metrics.flush()
        for name, value in values.items():
            shown = scalar(f"{kind}/{name}", value)
            self._events.write_event(Event(wall_time=time.time(), step=step, summary=shown))
        self._events.flush()
        if kind == "train":
            speed = f"{values[f'{self._unit}_per_s']:,.0f} {self._unit}/s"
            said = f"loss {values['loss']:.3f}, learning rate {values['lr']:.1e}, {speed}"
            self.bar.set_postfix_str(said)
            if self.bar.disable:
                left = tqdm.format_interval(self.seconds_left(step))
                log.info("step %d of %d: %s, %s of training left", step, self._last, said, left)
        elif self.bar.disable:
            log.info("step %d: validation %s", step, line(values))
        else:
            self.bar.write(f"step {step}: validation {line(values)}", file=sys.stderr)

    def pause(self, seconds: float) -> None:
        """Exclude these seconds, of a validation or a save, from the time per update that determines the remaining
        time."""
        self._began += seconds
        if not self.bar.disable:
            self.bar.start_t += seconds
            self.bar.last_print_t += seconds

    def seconds_left(self, step: int) -> float:
        """Seconds that the remaining updates take at the mean speed of this session; those of validations are not
        counted."""
        each = (time.perf_counter() - self._began) / max(1, step - self._first)
        return (self._last - step) * each

    def close(self) -> None:
        """Flush and close everything, and draw the curve."""
        self.bar.close()
        try:
            self._metrics.close()
            self._events.close()
            name, records = self._run.folder.name, read(self._run.metrics)
            draw_curves({name: records}, self._run.report / "curve.png", self._unit, self._metric)
        except OSError as error:  # such as a full disk: the error that ended the run matters more
            log.warning("the log of %s could not be finished: %s", self._run.folder, error)


class NoLogger:
    """The logger of all processes of a job but the main one; it writes nothing."""

    def __init__(self) -> None:
        self.bar = tqdm(disable=True)

    def write(self, kind: str, step: int, values: dict[str, float]) -> None:
        """Nothing."""

    def pause(self, seconds: float) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


def line(values: dict[str, float]) -> str:
    """Values on one line: measures by their usual spelling, and times with their unit."""
    return ", ".join(_said(name, value) for name, value in values.items())


def _said(name: str, value: float) -> str:
    match name:
        case "seconds":
            return f"{value:.0f} s" if value >= 10 else f"{value:.1f} s"
        case "compilations":
            return f"{counted(int(value), 'program')} compiled"
        case _:
            return f"{written(name)} {value:.4g}"


def read(path: Path) -> list[dict[str, Any]]:
    """The records of a metrics.jsonl, oldest first. Damaged lines are left out; the log says how many, and where."""
    records, damaged = parse(path)
    if damaged:
        count = "1 line is damaged and" if len(damaged) == 1 else f"{len(damaged)} lines are damaged and"
        log.warning("%s: %s left out, the first at line %d", path, count, damaged[0])
    return records


def parse(path: Path) -> tuple[list[dict[str, Any]], list[int]]:
    """The records of a metrics.jsonl, oldest first, and the numbers of its damaged lines; nothing if there is no file.
    An unterminated last line is left out: it is being written, or a crash truncated it."""
    lines = read_objects(path) if path.is_file() else {}
    records = {number: record for number, record in lines.items() if record is not None and _is_record(record)}
    return list(records.values()), [number for number in lines if number not in records]


def _is_record(values: dict[str, Any]) -> bool:
    """Whether it has the form that `MetricLogger.write` writes: a kind, a step, and numbers, including the loss."""
    numbers = [value for name, value in values.items() if name != "kind"]
    return (
        values.get("kind") in ("train", "validation")
        and {"step", "loss"} <= values.keys()
        and all(type(value) in (int, float) for value in numbers)
    )


def _forget_after(path: Path, step: int) -> None:
    """Drop records of steps that will be done again, so that a resumed run has each step once."""
    if path.is_file():
        kept = [record for record in read(path) if record["step"] <= step]
        write_text(path, "".join(json.dumps(record) + "\n" for record in kept))
