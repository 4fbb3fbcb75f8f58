"""Attention weights as one page for a browser: the data that it shows."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from transformer.alignment.record import KINDS, Attended
from transformer.html import page


def write_page(path: Path, about: dict[str, Any], sentences: Sequence[Attended]) -> None:
    """A page that shows the weights of every sentence, kind, layer and head; it needs no network and no other file.

    Args:
        path: the file to write, UTF-8.
        about: JSON values that say where the weights are from; shown as they are.
        sentences: pairs whose weights are written with four digits: 8 bytes or so for each.

    Raises:
        ValueError: for a number that is not finite, and for a sentence without any weights.
    """
    data = {"about": about, "sentences": [_entry(sentence) for sentence in sentences]}
    page.write(path, "transformer.alignment", data)


def _entry(sentence: Attended) -> dict[str, Any]:
    weights = {kind: getattr(sentence, kind) for kind in KINDS if getattr(sentence, kind) is not None}
    if not weights:
        raise ValueError(f"no attention to show: {' '.join(sentence.source.words)}")
    sides = {"source": sentence.source, "target": sentence.target, "read": sentence.sides("decoder")[1]}
    return {
        "line": sentence.line,
        **{name: asdict(side) for name, side in sides.items()},
        **{kind: _rounded(found) for kind, found in weights.items()},
    }


def _rounded(weights: np.ndarray) -> Any:
    """Four significant digits, not four decimals: where most of a row is on a mark, words share what little is left."""
    if weights.ndim == 1:
        return [float(f"{value:.4g}") for value in weights.tolist()]
    return [_rounded(part) for part in weights]
