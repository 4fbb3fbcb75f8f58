"""The data of the HTML page of attention weights."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from transformer.alignment.links import Links, Rule
from transformer.alignment.record import Attended
from transformer.html import page


def write_page(
    path: Path,
    about: dict[str, Any],
    sentences: Sequence[Attended],
    gold: Sequence[Links] | None = None,
    rule: Rule | None = None,
    label: str = "gold link",
) -> None:
    """Write a self-contained page of the weights of every sentence, kind, layer and head, and of read-outs; it needs no
    network.

    Args:
        path: the file to write, UTF-8.
        about: JSON values that describe the origin of the weights, shown unchanged.
        sentences: pairs; weights are written with four digits, about 8 bytes each.
        gold: for each pair the links that are circled.
        rule: the page opens at its read-out, layer and head; at the mean of all weights by default.
        label: what the page calls one of the links.

    Raises:
        ValueError: a number is not finite, or a sentence has no weights.
    """
    rule = rule or Rule()
    start = {name: "mean" if n is None else str(n) for name, n in (("layer", rule.layer), ("head", rule.head))}
    start["kind"] = rule.kind
    links = [frozenset[tuple[int, int]]()] * len(sentences) if gold is None else gold
    entries = [_entry(sentence, circled) for sentence, circled in zip(sentences, links, strict=True)]
    kinds = list(dict.fromkeys(kind for sentence in sentences for kind in sentence.kinds))
    data = {"about": about, "kinds": kinds, "start": start, "label": label, "sentences": entries}
    page.write(path, "transformer.alignment", data)


def _entry(sentence: Attended, gold: Links) -> dict[str, Any]:
    weights = {kind: sentence.matrix(kind) for kind in sentence.kinds}
    if not weights:
        raise ValueError(f"no attention to show: {' '.join(sentence.source.words)}")
    sides = {"source": sentence.source, "target": sentence.target, "read": sentence.sides("decoder")[1]}
    return {
        "line": sentence.line,
        "gold": sorted(gold),
        **{name: asdict(side) for name, side in sides.items()},
        **{kind: _rounded(matrix) for kind, matrix in weights.items()},
    }


def _rounded(weights: np.ndarray) -> Any:
    """Four significant digits, not decimals: words have small weights if special tokens hold most of a row."""
    if weights.ndim == 1:
        return [float(f"{value:.4g}") for value in weights.tolist()]
    return [_rounded(part) for part in weights]
