"""Plots of attention: the source on the horizontal axis, the target on the vertical, as in Bahdanau 2015, Figure 3."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from transformer.alignment.links import Links, Rule, align, by_word
from transformer.alignment.record import Attended

CELL = 0.27
"""Inches per word of a heatmap, twice the height of a label of 9 points."""
SMALL_CELL = 0.135
"""Inches per word of a grid, for labels of 7 points."""
GOLD = "#D55E00"


def heatmap(attended: Attended, rule: Rule, path: Path, gold: Links | None = None) -> None:
    """Plot the weights between words under a rule as PNG; circles mark gold links, if given."""
    weights, _ = align(attended, rule)
    rows, columns = attended.target.words, attended.source.words
    width, height = len(columns) * CELL, len(rows) * CELL
    figure = _figure(width + 0.6, height)
    axes = _axes(figure, 0, 0, width, height)
    image = _matrix(axes, weights, rows, columns, 9)
    for s, t in sorted(gold or ()):
        axes.plot(s, t, "o", mfc="none", mec=GOLD, ms=9, mew=1.2)
    figure.colorbar(image, cax=_axes(figure, width + 0.15, 0, 0.12, min(height, 2.0)))
    _save(figure, path)


def grid(attended: Attended, path: Path, kind: str = "cross") -> None:
    """Plot one kind of attention between words as PNG: a row for each layer, a column for each head.

    Raises KeyError if the model has no such attention.
    """
    weights, (target, source) = attended.matrix(kind), attended.sides(kind)
    L, H = weights.shape[:2]
    every = by_word(weights, target.spans, source.spans)
    rows, columns = target.words, source.words
    width, height = len(columns) * SMALL_CELL, len(rows) * SMALL_CELL
    right, down = width + 0.12, height + 0.35
    figure = _figure(H * right, L * down)
    for layer in range(L):
        for head in range(H):
            axes = _axes(figure, head * right, (L - 1 - layer) * down, width, height)
            _matrix(axes, every[layer, head], rows if head == 0 else None, columns if layer == 0 else None, 7)
            axes.set_xlabel(f"layer {layer}, head {head}", fontsize=8)
    _save(figure, path)


def _figure(width: float, height: float) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure


def _axes(figure: Any, left: float, bottom: float, width: float, height: float) -> Any:
    """Axes of a size in inches, so that every word fits; labels lie outside the axes and are saved too."""
    across, down = figure.get_size_inches()
    return figure.add_axes((left / across, bottom / down, width / across, height / down))


def _matrix(
    axes: Any, weights: Float[np.ndarray, "U W"], rows: Sequence[str] | None, columns: Sequence[str] | None, points: int
) -> Any:
    # The colour scale is fixed, so that plots compare; a window's gain can leave less than 1 in a row.
    image = axes.imshow(weights, cmap="Blues", vmin=0, vmax=1, aspect="equal", interpolation="nearest")
    axes.tick_params(length=0, top=False, bottom=False, labeltop=columns is not None, labelbottom=False)
    axes.set_xticks(range(weights.shape[1]) if columns is not None else [])
    axes.set_yticks(range(weights.shape[0]) if rows is not None else [])
    rows, columns = (side and [" ".join(word.split()) for word in side] for side in (rows, columns))  # no tabs
    if columns is not None:
        axes.set_xticklabels(columns, rotation=90, fontsize=points)
    if rows is not None:
        axes.set_yticklabels(rows, fontsize=points)
    for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        label.set_parse_math(False)  # a word may contain dollar signs
    axes.set_xticks(np.arange(-0.5, weights.shape[1]), minor=True)
    axes.set_yticks(np.arange(-0.5, weights.shape[0]), minor=True)
    axes.grid(which="minor", color="#00000014", lw=0.5)
    axes.tick_params(which="minor", length=0)
    return image


def _save(figure: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130, bbox_inches="tight", pad_inches=0.1, facecolor="white")
