"""A study's results as figures, for a page (SVG) and for a paper (PDF).

Colours are those of Okabe and Ito, which colour-blind readers can distinguish; markers distinguish them in grey.
Error bars are standard deviations over seeds, or the 95% interval over sentences of a single seed.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from transformer.evaluation.measures import Measure
from transformer.storage import checksums
from transformer.study.comparisons import ByVariant, Trials, bins, by_length, score, scores

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "osD^vPX"
DODGE = 0.05
"""Horizontal offset of a variant, as a share of the distance between two bins."""
DASHES = ("-", "--", ":")
# Text stays text, which can be searched and scaled with a paper. Equal results give equal files.
STYLE: dict[Any, Any] = {
    "font.size": 8,
    "axes.labelsize": 10,
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
    "svg.hashsalt": "study",
    "axes.linewidth": 0.6,
}


class Drawing(NamedTuple):
    """A figure to draw."""

    draw: Callable[[Any], None]
    """Onto an empty matplotlib Figure."""
    size: tuple[float, float]
    """Inches."""
    digest: str
    """Digest of its numbers. It is in the metadata of a file, so that a test finds files that show different
    numbers."""

    def save(self, path: Path) -> None:
        """As SVG and PDF; `path` has no suffix."""
        import matplotlib as mpl
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        with mpl.rc_context(STYLE):
            figure = Figure(figsize=self.size, layout="constrained")
            FigureCanvasAgg(figure)
            self.draw(figure)
            about = f"numbers {self.digest}"
            figure.savefig(path.with_name(path.name + ".svg"), metadata={"Date": None, "Description": about})
            figure.savefig(path.with_name(path.name + ".pdf"), metadata={"CreationDate": None, "Subject": about})


def lengths(variants: ByVariant) -> Drawing | None:
    """BLEU by source length, as in Bahdanau 2015, Figure 2. None if no result has it."""
    every = bins(variants)
    if not every:
        return None
    known = {name: by_length(trials) for name, trials in variants.items()}

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        for number, (name, trials) in enumerate(variants.items()):
            found = known[name]
            positions = [position for position, words in enumerate(every) if words in found]
            shown = [found[every[position]] for position in positions]
            offset = DODGE * (number - (len(variants) - 1) / 2)  # error bars of one bin must not hide each other
            axes.errorbar(
                [position + offset for position in positions],
                [one.mean for one in shown],
                yerr=np.transpose([one.bar for one in shown]),
                mfc=None if len(trials) > 1 else "white",
                color=COLOURS[number % len(COLOURS)],
                marker=MARKERS[number % len(MARKERS)],
                ls=DASHES[number // len(COLOURS) % len(DASHES)],
                ms=3.5,
                lw=1.1,
                capsize=2,
                label=name,
            )
        axes.set(xlabel="words of the source", ylabel="BLEU", ylim=(0, None), xticks=range(len(every)))
        axes.set_xticklabels(every)
        axes.grid(alpha=0.3, lw=0.5)
        axes.legend(frameon=False, fontsize=7, loc="upper left", bbox_to_anchor=(1.0, 1.0))
        figure.supxlabel(_about_bars(variants), fontsize=7)

    return Drawing(draw, (6.3, 3.2), checksums.short_digest([every, known]))


def dots(variants: ByVariant, metric: str, measure: Measure) -> Drawing | None:
    """One row for each variant: the mean of its seeds with their standard deviation, and each seed as a faint dot. A
    hollow marker is a single seed with its interval over sentences. None if no variant has the metric."""
    known = {name: found for name, trials in variants.items() if (found := score(trials, metric, measure))}

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        for row, (name, found) in enumerate(known.items()):
            values = scores(variants[name], metric)
            axes.plot(values, [row] * len(values), ".", color=COLOURS[5], ms=4, zorder=1)
            axes.errorbar(
                [found.mean],
                [row],
                xerr=np.transpose([found.bar]),
                fmt="o",
                color=COLOURS[0],
                mfc=COLOURS[0] if len(values) > 1 else "white",
                ms=4.5,
                lw=1.1,
                capsize=2.5,
            )
        axes.set(yticks=range(len(known)), ylim=(len(known) - 0.5, -0.5))
        axes.set_xlim(left=max(axes.get_xlim()[0], measure.low))
        axes.set_xlabel(_zoomed(measure.label or metric, axes.get_xlim()[0], measure.low))
        axes.set_yticklabels(list(known))
        axes.grid(alpha=0.3, lw=0.5)
        figure.supxlabel(_about_bars(variants), fontsize=7)

    if not known:
        return None
    every = {name: scores(variants[name], metric) for name in known}
    return Drawing(draw, (5.0, 1.0 + 0.2 * len(known)), checksums.short_digest([metric, known, every]))


def _zoomed(label: str, first: float, lowest: float) -> str:
    """The label of an axis; one that does not begin at the lowest value of the scale says so."""
    return f"{label}\n(the axis begins at {first:.3g}, not at {lowest:g})" if first > lowest else label


def _about_bars(variants: ByVariant) -> str:
    seeds = {len(trials) > 1 for trials in variants.values()}
    texts = {True: "bars: deviation over seeds", False: "hollow: one seed, 95% interval over sentences, where kept"}
    return "; ".join(text for several, text in texts.items() if several in seeds)


def heads(variants: ByVariant) -> Drawing | None:
    """Error rate of every layer (down) and head (across): a row of matrices for each variant, one matrix for each seed.
    None if no variant has several heads."""
    known = {name: every for name, trials in variants.items() if (every := _heads(trials))}
    most = max((values.shape[1] for every in known.values() for _, values in every), default=0)

    def draw(figure: Any) -> None:
        across = max(map(len, known.values()))
        figure.supxlabel("alignment error rate of each layer and head", fontsize=8)
        axes = figure.subplots(len(known), across, squeeze=False)
        for row, (name, every) in enumerate(known.items()):
            for column in range(across):
                if column < len(every):
                    _matrix(axes[row, column], every[column][1], f"{name}, seed {every[column][0]}")
                else:
                    axes[row, column].axis("off")

    if not known:
        return None
    shown = {name: [(seed, values.tolist()) for seed, values in every] for name, every in known.items()}
    # A number is 0.4 inches wide.
    size = (max(2.1, 0.5 + 0.4 * most) * max(map(len, known.values())), 1.8 * len(known))
    return Drawing(draw, size, checksums.short_digest(shown))


def _heads(trials: Trials) -> list[tuple[int, np.ndarray]]:
    """Each seed with its error rates [L, H]."""
    found = [
        (trial["seed"], np.array(trial["test"]["alignment"]["heads"]))
        for trial in trials
        if trial["test"].get("alignment", {}).get("heads")
    ]
    return [one for one in found if one[1].size > 1]


def _matrix(axes: Any, values: np.ndarray, title: str) -> None:
    axes.imshow(values, cmap="cividis_r", vmin=0, vmax=1, aspect="auto")
    for (layer, head), value in np.ndenumerate(values):
        axes.text(head, layer, f"{value:.2f}", ha="center", va="center", color="white" if value > 0.5 else "black")
    axes.set(xlabel="head", ylabel="layer", xticks=range(values.shape[1]), yticks=range(values.shape[0]))
    axes.set_title(title, fontsize=8)
    axes.tick_params(length=0)
