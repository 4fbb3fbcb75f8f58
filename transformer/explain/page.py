"""Self-attention step by step as one page for a browser: the numbers that it shows."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from transformer.explain.steps import Steps
from transformer.html import page


def write_page(path: Path, steps: Steps, sentence: str, about: dict[str, Any]) -> None:
    """A page that leads through the steps of one sentence; it needs no network and no other file.

    Args:
        path: the file to write, UTF-8.
        steps: whose numbers are written with four digits; a megabyte for 30 tokens and a model of 8 heads.
        sentence: what was read, shown at the top.
        about: JSON values that say where the numbers are from; shown as they are.

    Raises:
        ValueError: for a number that is not finite, but for the mask's -inf.
    """
    data = {"sentence": sentence, "about": about, "steps": _plain(steps)}
    page.write(path, "transformer.explain", data)


def _plain(value: Any) -> Any:
    """As JSON: dataclasses by field, arrays as lists of four significant digits, -inf as null, which JSON has."""
    if dataclasses.is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, float):
        return None if value == -np.inf else float(f"{value:.4g}")
    return value
