"""The data of the HTML page of attention weights."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from transformer.alignment.record import KINDS, Attended
from transformer.html import page


def write_page(path: Path, about: dict[str, Any], sentences: Sequence[Attended]) -> None:
    """Write a self-contained page of the weights of every sentence, kind, layer and head; it needs no network.

    Args:
        path: the file to write, UTF-8.
        about: JSON values that describe the origin of the weights, shown unchanged.
        sentences: pairs; weights are written with four digits, about 8 bytes each.

    Raises:
        ValueError: a number is not finite, or a sentence has no weights.
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
        **{kind: _rounded(matrix) for kind, matrix in weights.items()},
    }


def _rounded(weights: np.ndarray) -> Any:
    """Four significant digits, not decimals: words have small weights if special tokens hold most of a row."""
    if weights.ndim == 1:
        return [float(f"{value:.4g}") for value in weights.tolist()]
    return [_rounded(part) for part in weights]
