"""The data of the HTML pages that explain a layer, or a recurrent decoder, step by step."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from transformer.html import page


def write_page(path: Path, steps: Any, sentence: str, about: dict[str, Any], focus: int | None = None) -> None:
    """Write a self-contained page that explains the steps for one sentence; it needs no network.

    Args:
        path: the file to write, UTF-8.
        steps: those of a Transformer's layer or of a recurrent decoder, whose folder contains the page; written with
            four digits; a few megabytes for 30 tokens and a model of 8 heads.
        sentence: the input, shown at the top.
        about: JSON values that describe the origin of the numbers, shown unchanged.
        focus: the token that the page begins with; the one in the middle by default.

    Raises:
        ValueError: a number other than the mask's -inf is not finite.
    """
    focus = len(steps.pieces) // 2 if focus is None else focus
    data = {"sentence": sentence, "about": about, "focus": focus, "steps": _plain(steps)}
    page.write(path, type(steps).__module__.rpartition(".")[0], data, shared=["transformer.explain"])


def _plain(value: Any) -> Any:
    """JSON values: dataclasses by field, arrays as lists of four significant digits, -inf as null."""
    if dataclasses.is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, float):
        return None if value == -np.inf else float(f"{value:.4g}")
    return value
