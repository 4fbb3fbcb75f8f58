"""What a run writes down while it trains: metrics.jsonl, TensorBoard events, a progress bar, and a curve."""

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

from transformer.storage.files import read_objects, write_text
from transformer.storage.run import Run

log = logging.getLogger(__name__)

SHOWN = {"bleu": "BLEU"}
"""Names of values as people write them, where they differ."""


class MetricLogger:
    """Writes each record to all places. Records are dicts with a `step` and a `kind` (train or validation)."""

    def __init__(self, run: Run, first_step: int, last_step: int, unit: str = "tokens", metric: str = "bleu"):
        """
        Args:
            run: to write to.
            first_step: updates done; records of later ones are dropped.
            last_step: the last update, for the progress bar.
            unit: what speed is in.
            metric: the measure of validations that decides, drawn with the loss.
        """
        self._run, self._unit, self._metric = run, unit, metric
        _forget_after(run.metrics, first_step)
        self._metrics = run.metrics.open("a", encoding="utf-8")
        # Written at once, not by a thread of the library, which a full disk would end without a word.
        run.events.mkdir(exist_ok=True)
        self._events = EventsWriter(str(run.events / "events"))
        again = Event(step=first_step + 1, session_log=SessionLog(status=SessionLog.START))
        self._events.write_event(again)  # TensorBoard drops the records from there on
        self.bar = tqdm(total=last_step, initial=first_step, unit="update", dynamic_ncols=True, smoothing=0.1)

    def write(self, kind: str, step: int, values: dict[str, float]) -> None:
        """Add a record."""
        self._metrics.write(json.dumps({"kind": kind, "step": step, **values}) + "\n")
        self._metrics.flush()
        for name, value in values.items():
            shown = scalar(f"{kind}/{name}", value)
            self._events.write_event(Event(wall_time=time.time(), step=step, summary=shown))
        self._events.flush()
        if kind == "train":
            self.bar.set_postfix_str(
                f"loss {values['loss']:.3f}, lr {values['lr']:.1e}, {values[f'{self._unit}_per_s']:,.0f} {self._unit}/s"
            )
        else:
            self.bar.write(f"step {step}: validation {line(values)}", file=sys.stderr)

    def close(self) -> None:
        """Flush and close everything, and draw the curve."""
        self.bar.close()
        try:
            self._metrics.close()
            self._events.close()
            draw_curve(read(self._run.metrics), self._run.report / "curve.png", self._unit, self._metric)
        except OSError as error:  # such as a full disk: what ended the run matters more
            log.warning("the log of %s could not be finished: %s", self._run.folder, error)


class NoLogger:
    """Of the processes of a job one keeps the log; this is what the others have."""

    def __init__(self) -> None:
        self.bar = tqdm(disable=True)

    def write(self, kind: str, step: int, values: dict[str, float]) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


def line(values: dict[str, float]) -> str:
    """Values on one line, for a person."""
    return ", ".join(f"{SHOWN.get(name, name)} {value:.4g}" for name, value in values.items())


def read(path: Path) -> list[dict[str, Any]]:
    """The records of a metrics.jsonl, oldest first. Damaged lines are left out; the log says how many, and where."""
    records, damaged = parse(path)
    if damaged:
        count = "1 line is damaged and" if len(damaged) == 1 else f"{len(damaged)} lines are damaged and"
        log.warning("%s: %s left out, the first at line %d", path, count, damaged[0])
    return records


def parse(path: Path) -> tuple[list[dict[str, Any]], list[int]]:
    """The records of a metrics.jsonl, oldest first, and the numbers of its damaged lines; nothing where there is no
    file. A last line without its end is left out: it is being written, or a crash cut it short."""
    lines = read_objects(path) if path.is_file() else {}
    records = {number: record for number, record in lines.items() if record is not None and _is_record(record)}
    return list(records.values()), [number for number in lines if number not in records]


def _is_record(values: dict[str, Any]) -> bool:
    """Whether it is what `MetricLogger.write` writes: a kind, a step, and numbers, the loss among them."""
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


def draw_curve(records: list[dict[str, Any]], path: Path, unit: str = "tokens", metric: str = "bleu") -> None:
    """Training loss, validation loss and the validation's metric by update, as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    losses = figure.add_subplot()
    train = [r for r in records if r["kind"] == "train"]
    validation = [r for r in records if r["kind"] == "validation"]
    losses.plot(
        [r["step"] for r in train],
        [r.get("nll", r["loss"]) for r in train],
        color="#0072B2",
        label="training loss",
        lw=1,
    )
    losses.plot(
        [r["step"] for r in validation],
        [r["loss"] for r in validation],
        color="#D55E00",
        marker="o",
        ms=3,
        label="validation loss",
    )
    losses.set(xlabel="update", ylabel=f"nats per {unit.removesuffix('s')}", ylim=(0, None))
    losses.grid(alpha=0.3)
    handles, labels = losses.get_legend_handles_labels()
    points = [(r["step"], r[metric]) for r in validation if metric in r and metric != "loss"]
    if points:
        quality, name = losses.twinx(), SHOWN.get(metric, metric)
        quality.plot(*zip(*points, strict=True), color="#009E73", marker="s", ms=3, ls="--", label=f"validation {name}")
        quality.set(ylabel=name, ylim=(0, 100 if max(b for _, b in points) > 60 else None))
        more = quality.get_legend_handles_labels()
        handles, labels = handles + more[0], labels + more[1]
    losses.legend(handles, labels, loc="center right", frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
