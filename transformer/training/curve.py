"""Curves of training as PNG: of one run, or of several runs in one picture."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from transformer.evaluation.measures import written

Records: TypeAlias = Sequence[Mapping[str, Any]]
"""The records of a metrics.jsonl, see `training.logger.read`."""

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Those of Okabe and Ito, which colour-blind readers can distinguish."""


def draw_curves(runs: Mapping[str, Records], path: Path, unit: str = "tokens", metric: str = "bleu") -> None:
    """Training loss and validation loss by update, and below them the validation's metric, as PNG.

    Args:
        runs: the records of each run by its name, which is in the title or, for several runs, in the legend.
        path: the file to write.
        unit: the losses are nats per one of these.
        metric: the measure of the validation that decides; without records of it there is one panel.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    measured = metric != "loss" and any(metric in record for records in runs.values() for record in records)
    figure = Figure(figsize=(7, 6 if measured else 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    losses, *below = figure.subplots(2 if measured else 1, 1, sharex=True, squeeze=False)[:, 0]
    several = len(runs) > 1
    for number, (name, records) in enumerate(runs.items()):
        train, validation, best = (COLOURS[number % len(COLOURS)],) * 3 if several else COLOURS[:3]
        prefix = f"{name}, " if several else ""
        steps, values = _points(records, "train", ("nll", "loss"))
        losses.plot(steps, values, color=train, lw=1, alpha=0.6 if several else 1, label=f"{prefix}training loss")
        losses.plot(
            *_points(records, "validation", ("loss",)), "o-", color=validation, ms=3, label=f"{prefix}validation loss"
        )
        for axes in below:
            points = _points(records, "validation", (metric,))
            axes.plot(*points, "s--", color=best, ms=3, label=f"{prefix}validation {written(metric)}")
    losses.set(ylabel=f"nats per {unit.removesuffix('s')}", ylim=(0, None))
    for axes in below:
        axes.set(ylabel=written(metric), ylim=(0, None))
    for axes in (losses, *below):
        axes.grid(alpha=0.3)
    (below or [losses])[-1].set_xlabel("update")
    figure.suptitle(f"Training of {' and '.join(runs)}", fontsize=11).set_parse_math(False)
    # Below the axes, where it covers no curve.
    legend = figure.legend(loc="outside lower center", ncols=2 if several else 3, frameon=False, fontsize=8)
    for text in legend.get_texts():
        text.set_parse_math(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def _points(records: Records, kind: str, names: Iterable[str]) -> tuple[list[int], list[float]]:
    """Steps and values of the records of a kind; if several names are given, the first that a record has."""
    found = [
        (record["step"], next(record[name] for name in names if name in record))
        for record in records
        if record["kind"] == kind and any(name in record for name in names)
    ]
    return [step for step, _ in found], [value for _, value in found]
