"""Pictures: every word is named, and no label overlaps another or is cut off."""

import dataclasses
import itertools
from typing import Any

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


def labels(figure):
    renderer = figure.canvas.get_renderer()
    for axes in figure.axes:
        for ticks in (axes.get_xticklabels(), axes.get_yticklabels()):
            yield [(label.get_text(), label.get_window_extent(renderer)) for label in ticks if label.get_text()]


def overlapping(boxes):
    return [(a[0], b[0]) for a, b in itertools.combinations(boxes, 2) if a[1].overlaps(b[1])]


def test_a_heatmap_names_every_word(pair, tmp_path):
    picture = draw.heatmap(pair, Rule(layer=1), frozenset({(0, 0), (3, 2)}))
    picture.save(tmp_path / "a" / "heatmap.png")
    columns, rows, *_ = labels(picture)
    assert [text for text, _ in columns] == SOURCE
    assert [text for text, _ in rows] == TARGET
    assert not overlapping(columns)
    assert not overlapping(rows)
    assert (tmp_path / "a" / "heatmap.png").read_bytes().startswith(b"\x89PNG")
    image = picture.axes[0].images[0].get_array()
    weights = pair.cross[1].mean(0)[:-1, :-1]
    np.testing.assert_allclose(image, weights / weights.sum(-1, keepdims=True), rtol=1e-5)


@pytest.mark.parametrize(("kind", "rows", "columns"), [
    ("cross", TARGET, SOURCE), ("encoder", SOURCE, SOURCE), ("decoder", TARGET, TARGET)
])  # fmt: skip
def test_a_grid_shows_every_layer_and_head(kind, rows, columns, pair):
    picture = draw.grid(pair, kind)
    *axes, _ = picture.axes  # the last is the colour bar
    assert [one.get_xlabel() for one in axes] == [f"layer {n}, head {h}" for n in range(2) for h in range(3)]
    assert [label.get_text() for label in axes[0].get_xticklabels()] == columns
    assert [label.get_text() for label in axes[3].get_yticklabels()] == rows
    for boxes in labels(picture):
        assert not overlapping(boxes)
    for layer in range(2):
        for head in range(3):
            image = axes[layer * 3 + head].images[0].get_array()
            assert image.shape == (len(rows), len(columns))
    if kind == "decoder":  # the first word is predicted from the BOS token, so it attends to no word
        assert not image[0].any()
        assert image[1, 0] > 0
        assert not image[1, 1:].any()


def test_a_missing_attention_is_refused(pair):
    with pytest.raises(KeyError, match="encoder"):
        draw.grid(dataclasses.replace(pair, encoder=None), "encoder")


def legend(axes):
    found = axes.get_legend()
    return [] if found is None else [text.get_text() for text in found.get_texts()]


def test_a_heatmap_says_what_it_shows(pair):
    picture: Any = draw.heatmap(pair, Rule(layer=1, head=2), frozenset({(0, 0)}))
    axes, bar = picture.axes
    assert axes.get_title(loc="left") == "Attention to the source: layer 1, head 2\nrows attend to columns"
    assert axes.get_ylabel() == "target word (attends)"
    assert axes.get_xlabel() == "source word (is attended to)"
    assert bar.get_ylabel() == "attention weight"
    assert legend(axes) == ["gold link"]
    assert [list(line.get_xydata()[0]) for line in axes.lines] == [[0, 0]]
    assert legend(draw.heatmap(pair).axes[0]) == []
    signed = draw.heatmap(dataclasses.replace(pair, cross=pair.cross - 0.3))
    assert signed.axes[1].get_ylabel() == "attention weight, negative as 0"
    picture.canvas.draw()  # places the labels
    renderer = picture.canvas.get_renderer()
    parts = [axes.title, axes.xaxis.label, axes.yaxis.label, axes.get_legend(), axes._left_title]
    boxes = [(str(part), part.get_window_extent(renderer)) for part in parts]
    words = [box for group in itertools.islice(labels(picture), 2) for box in group]
    assert not overlapping([one for one in boxes if one[1].width > 1])
    for part in boxes:
        assert not [word for word, box in words if part[1].width > 1 and part[1].overlaps(box)]


@pytest.mark.parametrize("kind", ["cross", "encoder", "decoder"])
def test_a_grid_says_what_it_shows(kind, pair):
    *axes, bar = draw.grid(pair, kind).axes
    attending, attended = draw.KINDS[kind][1:]
    assert f"rows ({attending}s) attend to columns ({attended}s)" in axes[0].get_title(loc="left")
    assert [one.get_ylabel() for one in axes] == [attending, "", ""] * 2
    assert bar.get_ylabel() == "attention weight"


def test_rows_without_weight_on_words_are_hatched_and_explained(pair):
    for picture, blank in ((draw.grid(pair, "decoder"), 1), (draw.grid(pair, "encoder"), 0)):
        *axes, _ = picture.axes
        for one in axes:
            hatched: list[Any] = [patch for patch in one.patches if patch.get_hatch()]
            assert [patch.get_y() for patch in hatched] == [-0.5] * blank  # the first row
        said = [text for one in axes for text in legend(one)]
        assert said == ["no weight on words, only on the begin or end token, which has no column"] * blank


def test_read_outs_side_by_side_have_captions_that_do_not_overlap(pair):
    full = dataclasses.replace(
        pair, readouts={"norms": pair.cross, "head-norms": pair.cross, "alti": pair.cross[:, :1]}
    )
    rules = [
        Rule(),
        Rule(by="norms", layer=1, shift=1, threshold=0.25, pieces="max", end="null"),
        Rule(by="head-norms", layer=0, head=2, threshold=0.4, shift=1, pieces="max", end="null"),
        Rule(by="alti"),
    ]
    picture: Any = draw.side_by_side(full, rules, frozenset({(0, 0)}))
    picture.canvas.draw()
    *axes, bar = picture.axes
    assert bar.get_ylabel() == "share of the row"
    captions = [" ".join(one.get_xlabel().split()) for one in axes]
    assert captions[::3] == ["mean of layers, mean of heads", "alti, mean of layers"]
    renderer = picture.canvas.get_renderer()
    boxes = [(one.get_xlabel(), one.xaxis.label.get_window_extent(renderer)) for one in axes]
    assert not overlapping(boxes)
    for caption, box in boxes:
        assert not [caption for one in axes if one.get_window_extent(renderer).overlaps(box)]
