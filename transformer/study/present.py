"""A study's results as Markdown tables and as a figure; nothing here depends on anything but the results."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Cells = Mapping[str, Sequence[dict[str, Any]]]
"""Results of the trials of each cell."""

# Okabe and Ito's colours, told apart by colour-blind readers too; with a marker each, also in grey.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "osD^vPX"


def tables(cells: Cells) -> str:
    """What each cell reached, and its BLEU by source length.

    One trial has sacreBLEU's 95% interval over sentences in brackets, several have their standard deviation over seeds.
    """
    unseen = any("unseen" in trial for trials in cells.values() for trial in trials)
    head = ["", "seeds", "parameters", "updates", "minutes", "BLEU", *["unseen"] * unseen, "chrF", "perplexity"]
    rows = []
    for name, trials in cells.items():
        rows.append(
            [
                name,
                ", ".join(str(trial["seed"]) for trial in trials),
                f"{trials[0]['parameters']:,}",
                _mean(trials, lambda t: t["updates"], ",.0f"),
                _mean(trials, lambda t: t["minutes"]),
                _score(trials, "test", "BLEU"),
                *[_score(trials, "unseen", "BLEU")] * unseen,
                _score(trials, "test", "chrF2"),
                _mean(trials, lambda t: t["test"]["perplexity"], ".2f"),
            ]
        )
    first = _markdown(head, rows)
    bins = _bins(cells)
    rows = []
    for name, trials in cells.items():
        found = by_length(trials)
        rows.append([name, *(f"{found[b][0]:.1f}" if b in found else "" for b in bins)])
    return f"{first}\nBLEU by words of the source:\n\n{_markdown(['', *bins], rows)}"


def by_length(trials: Sequence[dict[str, Any]]) -> dict[str, tuple[float, float]]:
    """BLEU of each bin of source lengths: mean and standard deviation over seeds."""
    found: dict[str, list[float]] = {}
    for trial in trials:
        for row in trial["test"]["by_length"]:
            found.setdefault(row["words"], []).append(row["bleu"])
    return {words: (statistics.fmean(values), _deviation(values)) for words, values in found.items()}


def draw(cells: Cells, path: Path) -> None:
    """BLEU by source length, as Bahdanau 2015, Figure 2; error bars are standard deviations over seeds."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    bins = _bins(cells)
    for number, (name, trials) in enumerate(cells.items()):
        found = by_length(trials)
        places = [place for place, words in enumerate(bins) if words in found]
        means, deviations = zip(*(found[bins[place]] for place in places), strict=True)
        axes.errorbar(
            places,
            means,
            yerr=deviations if len(trials) > 1 else None,
            color=COLOURS[number % len(COLOURS)],
            marker=MARKERS[number % len(MARKERS)],
            ls="-" if number < len(COLOURS) else "--",
            ms=4,
            lw=1.2,
            capsize=2,
            label=name,
        )
    axes.set(xlabel="words of the source", ylabel="BLEU", ylim=(0, None), xticks=range(len(bins)))
    axes.set_xticklabels(bins)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize=8, loc="lower left")
    figure.savefig(path, dpi=150)


def _bins(cells: Cells) -> list[str]:
    """Bins that any cell has, short to long."""
    there = {row["words"] for trials in cells.values() for trial in trials for row in trial["test"]["by_length"]}
    return sorted(there, key=lambda words: int(words.rstrip("+").split("-")[0]))


def _mean(trials: Sequence[dict[str, Any]], value: Any, form: str = ".1f") -> str:
    return format(statistics.fmean(value(trial) for trial in trials), form)


def _score(trials: Sequence[dict[str, Any]], part: str, metric: str) -> str:
    scored = [trial[part]["scores"][metric] for trial in trials if part in trial]
    if not scored:
        return ""
    values = [score["value"] for score in scored]
    if len(values) > 1:
        return f"{statistics.fmean(values):.1f} ± {_deviation(values):.1f}"
    interval = scored[0]["interval"]
    return f"{values[0]:.1f}" + (f" [{interval[0]:.1f}, {interval[1]:.1f}]" if interval and metric == "BLEU" else "")


def _deviation(values: Sequence[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else 0.0


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)
