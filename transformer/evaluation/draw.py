"""The confusion matrix of a classifier as PNG."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

NUMBERED = 12
"""With more labels the cells have no numbers."""


def draw_confusion(confusion: Mapping[str, Any], title: str, path: Path) -> None:
    """Rows are actual labels, columns are predictions; the colour is the share of the row, the number the count.

    Args:
        confusion: `labels` and `counts`, as a report has them.
        title: of the picture.
        path: the file to write.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    labels, counts = confusion["labels"], np.array(confusion["counts"])
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    side = min(12.0, 2.5 + 0.45 * len(labels))
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    if len(labels) <= NUMBERED:
        for (row, column), count in np.ndenumerate(counts):
            colour = "white" if share[row, column] > 0.5 else "black"
            axes.text(column, row, f"{count:,}", ha="center", va="center", color=colour, fontsize=9)
    axes.set_xticks(range(len(labels)), labels, rotation=90 if max(map(len, labels)) > 4 else 0)
    axes.set_yticks(range(len(labels)), labels)
    axes.set(xlabel="prediction", ylabel="label")
    for text in (axes.set_title(title, fontsize=11), *axes.get_xticklabels(), *axes.get_yticklabels()):
        text.set_parse_math(False)
    figure.colorbar(image, ax=axes, label="share of the row", shrink=0.8)
    figure.savefig(path, dpi=150)
