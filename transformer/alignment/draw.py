"""Plots of attention: the source on the horizontal axis, the target on the vertical, as in Bahdanau 2015, Figure 3."""

import io
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from transformer.alignment.links import Links, Rule, align, by_word
from transformer.alignment.record import Attended
from transformer.alignment.select import name

CELL = 0.27
"""Inches per word of a heatmap, twice the height of a label of 9 points."""
SMALL_CELL = 0.135
"""Inches per word of a grid, for labels of 7 points."""
LETTER = 0.062
"""Inches per letter of a caption of 8 points."""
GOLD, BLANK = "#D55E00", "#888888"
KINDS = {
    "cross": ("Attention to the source", "target word", "source word"),
    "encoder": ("Self-attention of the encoder", "source word", "source word"),
    "decoder": ("Self-attention of the decoder", "target word", "earlier target word"),
}
"""For each kind of attention: its name, and what its rows and columns are."""


class Picture(Figure):
    """A figure that a notebook displays automatically. It uses no window and no pyplot."""

    def __init__(self, width: float, height: float) -> None:
        """Both in inches; labels may extend beyond them, and are shown and saved too."""
        super().__init__(figsize=(width, height))
        FigureCanvasAgg(self)

    def save(self, path: Path) -> None:
        """Write it as PNG."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self._repr_png_())

    def _repr_png_(self) -> bytes:
        """What a notebook shows."""
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=130, bbox_inches="tight", pad_inches=0.1, facecolor="white")
        return buffer.getvalue()


def heatmap(
    attended: Attended, rule: Rule | None = None, gold: Links | None = None, label: str = "gold link"
) -> Picture:
    """The weights, or another read-out, between the words of a pair.

    Args:
        attended: the attention of a pair, from `TrainedModel.attend`.
        rule: which read-out, layer and head; the mean of all weights by default.
        gold: links that are circled.
        label: what the legend calls one of them.
    """
    rule = rule or Rule()
    weights, _ = align(attended, rule)
    rows, columns = attended.target.words, attended.source.words
    width, height = len(columns) * CELL, len(rows) * CELL
    picture = Picture(width + 0.6, height)
    axes = _axes(picture, 0, 0, width, height)
    image = _matrix(axes, weights, rows, columns, 9)
    what, attending, attended_to = KINDS["cross"]
    _name_sides(axes, attending, attended_to)
    axes.set_title(f"{what}: {name(rule)}\nrows attend to columns", fontsize=10, loc="left")
    _circle(axes, gold, 9)
    _legend(axes, [*_ring(gold, label), *_blank_rows(weights)])
    bar = picture.colorbar(image, cax=_axes(picture, width + 0.15, 0, 0.12, min(height, 2.0)))
    bar.set_label(_unit(rule) + _negative(attended.matrix(rule.kind)), fontsize=8)
    return picture


def side_by_side(
    attended: Attended, rules: Sequence[Rule], gold: Links | None = None, label: str = "gold link"
) -> Picture:
    """Several read-outs of a pair, up to three in a row; arguments as those of `heatmap`."""
    rows, columns = attended.target.words, attended.source.words
    width, height = len(columns) * SMALL_CELL, len(rows) * SMALL_CELL
    across = min(3, len(rules))
    down = -(-len(rules) // across)
    labels = 0.075 * max(map(len, columns))  # of the words above the first row
    right = width + 0.2
    captions = [textwrap.fill(name(rule), max(16, int(width / LETTER))) for rule in rules]
    below = height + 0.2 + 0.15 * max(caption.count("\n") + 1 for caption in captions)
    picture = Picture(across * right + 0.4, down * below + labels)
    matrices = [align(attended, rule)[0] for rule in rules]
    for number, (caption, weights) in enumerate(zip(captions, matrices, strict=True)):
        row, column = divmod(number, across)
        axes = _axes(picture, column * right, (down - 1 - row) * below, width, height)
        image = _matrix(axes, weights, rows if column == 0 else None, columns if row == 0 else None, 7)
        axes.set_xlabel(caption, fontsize=8)
        _circle(axes, gold, 5)
    _, attending, attended_to = KINDS["cross"]
    title = f"Read-outs: each row ({attending}) in shares of the columns ({attended_to}s)"
    picture.axes[0].set_title(title, fontsize=10, loc="left")
    _legend(
        picture.axes[(down - 1) * across],
        [*_ring(gold, label), *_blank_rows(np.stack(matrices))],
        below=below - height - 0.1,
    )
    bar = picture.colorbar(image, cax=_axes(picture, across * right, (down - 1) * below, 0.1, min(height, 2.0)))
    bar.set_label("share of the row", fontsize=8)
    bar.ax.tick_params(labelsize=7)
    return picture


def grid(attended: Attended, kind: str = "cross") -> Picture:
    """One kind of attention between words: a row of plots for each layer, a column for each head.

    Raises KeyError if the model has no such attention.
    """
    weights, (target, source) = attended.matrix(kind), attended.sides(kind)
    L, H = weights.shape[:2]
    every = by_word(weights, target.spans, source.spans)
    rows, columns = target.words, source.words
    width, height = len(columns) * SMALL_CELL, len(rows) * SMALL_CELL
    right, down = width + 0.12, height + 0.35
    picture = Picture(H * right, L * down)
    what, attending, attended_to = KINDS[kind]
    for layer in range(L):
        for head in range(H):
            axes = _axes(picture, head * right, (L - 1 - layer) * down, width, height)
            image = _matrix(axes, every[layer, head], rows if head == 0 else None, columns if layer == 0 else None, 7)
            axes.set_xlabel(f"layer {layer}, head {head}", fontsize=8)
            if head == 0:
                axes.set_ylabel(attending, fontsize=8)
    first, last = picture.axes[0], picture.axes[-H]
    title = f"{what}: rows ({attending}s) attend to columns ({attended_to}s)"
    first.set_title(title, fontsize=10, loc="left")
    _legend(last, _blank_rows(every), below=0.25)
    bar = picture.colorbar(
        image, cax=_axes(picture, H * right, L * down - 0.35 - min(height, 2.0), 0.1, min(height, 2.0))
    )
    bar.set_label("attention weight" + _negative(weights), fontsize=8)
    bar.ax.tick_params(labelsize=7)
    return picture


def _circle(axes: Any, links: Links | None, points: int) -> None:
    for s, t in sorted(links or ()):
        axes.plot(s, t, "o", mfc="none", mec=GOLD, ms=points, mew=1.2 if points > 5 else 0.9)


def _ring(links: Links | None, label: str) -> list[Any]:
    """An entry of the legend where links are circled."""
    return [Line2D([], [], ls="", marker="o", mfc="none", mec=GOLD, ms=9, mew=1.2, label=label)] if links else []


def _unit(rule: Rule) -> str:
    return "attention weight" if rule.by == "weights" else f"{rule.by}, share of the row"


def _negative(weights: Float[np.ndarray, "L H T S"]) -> str:
    """What a label says about negative weights."""
    return ", negative as 0" if weights.min() < 0 else ""


def _axes(figure: Any, left: float, bottom: float, width: float, height: float) -> Any:
    """Axes of a size in inches, so that every word fits."""
    across, down = figure.get_size_inches()
    return figure.add_axes((left / across, bottom / down, width / across, height / down))


def _name_sides(axes: Any, attending: str, attended_to: str) -> None:
    axes.set_ylabel(f"{attending} (attends)", fontsize=9)
    axes.xaxis.set_label_position("top")
    axes.set_xlabel(f"{attended_to} (is attended to)", fontsize=9, loc="left")


def _matrix(
    axes: Any, weights: Float[np.ndarray, "U W"], rows: Sequence[str] | None, columns: Sequence[str] | None, points: int
) -> Any:
    # The colour scale is fixed, so that plots are comparable; a window's gain can leave a row sum below 1.
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
    for row in np.flatnonzero(~weights.any(-1)):
        axes.axhspan(row - 0.5, row + 0.5, fill=False, hatch="////", ec=BLANK, lw=0)
    return image


def _blank_rows(weights: Float[np.ndarray, "... U W"]) -> list[Any]:
    """An entry of the legend where rows are hatched."""
    if weights.any(-1).all():
        return []
    label = "no weight on words, only on the begin or end token, which has no column"
    return [Patch(fill=False, hatch="////", ec=BLANK, lw=0, label=label)]


def _legend(axes: Any, entries: Sequence[Any], below: float = 0.0) -> None:
    """Entries under axes, `below` inches further down."""
    if entries:
        height = axes.get_position().height * axes.figure.get_size_inches()[1]
        anchor = (0, -below / height)
        axes.legend(handles=entries, loc="upper left", bbox_to_anchor=anchor, frameon=False, fontsize=8, borderpad=0.2)
