"""Pictures: every word is named, and no label overlaps another or is cut off."""

import dataclasses
import itertools

import numpy as np
import pytest

from tests.alignment.test_links import softmax
from transformer.alignment import draw
from transformer.alignment.links import Rule
from transformer.alignment.record import Attended, Side

SOURCE = [
    "a",
    "man",
    "in",
    "a",
    "blue",
    "shirt",
    "is",
    "standing",
    "on",
    "a",
    "very",
    "long",
    "ladder",
    "cleaning",
    "the",
    "windows",
    "of",
    "a",
    "tall",
    "building",
    "while",
    "several",
    "other",
    "photographers",
    "are",
    "watching",
    "him",
    "for",
    "$5",
    "and",
    "$x^2$",
    ".",
]
TARGET = [
    "ein",
    "mann",
    "in",
    "einem",
    "hemd",
    "putzt",
    "die",
    "überwältigend",
    "großen",
    "fensterscheiben",
    "des",
    "gebäudes",
    ",",
    "mehrere",
    "sehen",
    "zu",
    ".",
]


def side(words):
    return Side(tuple(words), (*(f"▁{word}" for word in words), "</s>"), (*range(len(words)), -1))


@pytest.fixture
def pair():
    random = np.random.default_rng(0)
    S, T = len(SOURCE) + 1, len(TARGET) + 1
    cross, encoder, decoder = (softmax(random.normal(size=(2, 3, *shape))) for shape in ((T, S), (S, S), (T, T)))
    return Attended(side(SOURCE), side(TARGET), cross, encoder, np.tril(decoder))


@pytest.fixture
def saved(monkeypatch):
    """The figures, before they are saved."""
    figures = []
    save = draw._save
    monkeypatch.setattr(draw, "_save", lambda figure, path: (figures.append(figure), save(figure, path)))
    return figures


def labels(figure):
    renderer = figure.canvas.get_renderer()
    for axes in figure.axes:
        for ticks in (axes.get_xticklabels(), axes.get_yticklabels()):
            yield [(label.get_text(), label.get_window_extent(renderer)) for label in ticks if label.get_text()]


def overlapping(boxes):
    return [(a[0], b[0]) for a, b in itertools.combinations(boxes, 2) if a[1].overlaps(b[1])]


def test_a_heatmap_names_every_word(pair, saved, tmp_path):
    draw.heatmap(pair, Rule(layer=1), tmp_path / "a" / "heatmap.png", frozenset({(0, 0), (3, 2)}))
    columns, rows, *_ = labels(saved[0])
    assert [text for text, _ in columns] == SOURCE
    assert [text for text, _ in rows] == TARGET
    assert not overlapping(columns)
    assert not overlapping(rows)
    assert (tmp_path / "a" / "heatmap.png").read_bytes().startswith(b"\x89PNG")
    image = saved[0].axes[0].images[0].get_array()
    weights = pair.cross[1].mean(0)[:-1, :-1]
    np.testing.assert_allclose(image, weights / weights.sum(-1, keepdims=True), rtol=1e-5)


@pytest.mark.parametrize(("kind", "rows", "columns"), [
    ("cross", TARGET, SOURCE), ("encoder", SOURCE, SOURCE), ("decoder", TARGET, TARGET)
])  # fmt: skip
def test_a_grid_shows_every_layer_and_head(kind, rows, columns, pair, saved, tmp_path):
    draw.grid(pair, tmp_path / "grid.png", kind)
    axes = saved[0].axes
    assert [one.get_xlabel() for one in axes] == [f"layer {n}, head {h}" for n in range(2) for h in range(3)]
    assert [label.get_text() for label in axes[0].get_xticklabels()] == columns
    assert [label.get_text() for label in axes[3].get_yticklabels()] == rows
    for boxes in labels(saved[0]):
        assert not overlapping(boxes)
    for layer in range(2):
        for head in range(3):
            image = axes[layer * 3 + head].images[0].get_array()
            assert image.shape == (len(rows), len(columns))
    if kind == "decoder":  # the first word is predicted from the BOS token, so it attends to no word
        assert not image[0].any()
        assert image[1, 0] > 0
        assert not image[1, 1:].any()


def test_an_attention_that_is_not_there_is_refused(pair, tmp_path):
    with pytest.raises(KeyError, match="encoder"):
        draw.grid(dataclasses.replace(pair, encoder=None), tmp_path / "grid.png", "encoder")
