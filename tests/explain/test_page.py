"""The page of the steps in a real browser, offline, against the steps; and the file itself, without one."""

import dataclasses
import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from numpy.testing import assert_allclose, assert_array_equal
from selenium.webdriver.common.keys import Keys

from tests.browser import Page, assert_apart, browser, data_of, four_digits, luminance, needs_browser
from tests.conftest import tiny
from transformer.config import Attention
from transformer.explain.page import write_page
from transformer.explain.transformer.steps import decoder_steps, encoder_steps
from transformer.models.build import create, split

LONG = (
    "▁The ▁old ▁fisher man ▁who ▁had ▁sold ▁his ▁little ▁wooden ▁house ▁near ▁the ▁harbour ▁last ▁winter ▁told ▁the "
    "▁curious ▁child ren ▁an ▁unforget table ▁thunder storm ▁came ▁. </s> <pad>"
)
HOSTILE = "</script><img/src=x/onerror=alert(1)> <b>bold</b> \"'&amp; <!-- {{data}} שלום \u2028 \ud800 ${alert(2)}"
ABOUT = {"run": HOSTILE, "checkpoint": {"step": 5000, "average": None}, HOSTILE: [1, 2]}
CHANGES = {
    "encoder": {"norm": "pre"},
    "decoder": {"attention": Attention(heads=4)},
    "dot": {"attention": Attention(score="dot", heads=1)},
    "hostile": {"width": 8, "attention": Attention(heads=4)},
}


def make(name):
    """Steps of a random model, loud enough that heads differ: layer 1 of an encoder and a decoder, layer 0 else."""
    graph, parameters = split(create(tiny(**CHANGES[name]), 13, 13, 1))
    random = np.random.default_rng(0)
    louder = jax.tree.map(lambda p: p + 0.3 * random.normal(size=p.shape).astype(np.float32), parameters)
    model = nnx.merge(graph, louder)
    if name == "decoder":
        memory = model.encode(jnp.array([[5, 6, 3, 0]]))
        words = ["<s>", "x", "y", "z", "▁w", "x"]
        source = ["a", "b", "</s>", "<pad>"]
        return decoder_steps(
            model, memory, source, [2, 7, 8, 9, 4, 7], words, 1, lambda ids: [f"w{id_}" for id_ in ids]
        )
    pieces = LONG.split(" ") if name == "encoder" else [*HOSTILE.split(" "), "</s>", "<pad>"]
    tokens = [*(5 + n % 7 for n in range(len(pieces) - 2)), 3, 0]
    return encoder_steps(model, tokens, pieces, int(name == "encoder"))


@pytest.fixture(scope="module")
def steps():
    return {name: make(name) for name in CHANGES}


@pytest.fixture(scope="module")
def pages(steps, tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    for name, found in steps.items():
        write_page(folder / f"{name}.html", found, HOSTILE, ABOUT)
    return folder


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("chromium")) as driver:
        yield driver


class Shown(Page):
    def open(self, name="encoder", place="", width=1280):
        self.path = self.path.with_name(f"{name}.html")
        super().open(place, width)


@pytest.fixture
def shown(chromium, pages):
    """The pages report no errors in any test."""
    shown = Shown(chromium, pages / "encoder.html")
    yield shown
    shown.assert_quiet()


def says_the_row(shown, steps, focus, heads):
    """The tables have the numbers of the focus in these heads, left to right."""
    assert shown.all("#row h3") == [f"Head {head}" for head in heads]
    assert shown.all("#tokens [aria-pressed=true]", "e.id") == [f"token-{focus}"]
    assert set(shown.all("[data-say=focus]")) == {well(steps.pieces[focus])}
    for panel, number in enumerate(heads, 1):
        head = steps.attention.heads[number]
        within = f"#row .card:nth-child({panel}) "
        rows = shown.all(within + "tbody tr", "[...e.children].map(cell => cell.textContent.toWellFormed())")
        assert [row[0] for row in rows] == [well(piece) for piece in steps.pieces]
        numbers = np.array([head.scores, head.scaled] if steps.attention.is_scaled else [head.scores])[:, focus]
        assert_allclose(np.array([row[1:-2] for row in rows], float), numbers.T, atol=0.006)
        seen = steps.attention.mask[focus]
        assert [row[-2] for row in rows] == ["0" if see else "-inf" for see in seen]
        why = "padding" if steps.kind == "encoder" else "the future"
        assert [row[-1][5:] for row in rows] == ["" if see else why for see in seen]
        assert_allclose([float(row[-1][:5]) for row in rows], head.weights[focus], atol=6e-4)
        assert shown.all(within + "tbody tr", "e.className") == ["" if see else "masked" for see in seen]
        shares = shown.all(within + "tbody i", "e.getBoundingClientRect().width / e.parentNode.clientWidth")
        assert np.argmax(shares) == np.argmax(head.weights[focus][seen])
        (said,) = shown.all(within + ".largest")
        most, total, share = re.fullmatch(r"Attends most to .*: exp\((.*)\) / (.*) = (.*)", said, re.DOTALL).groups()
        assert_allclose(float(share), head.weights[focus].max(), atol=6e-4)
        assert_allclose(float(most), head.masked[focus].max(), atol=0.006)
        assert_allclose(float(total), np.exp(head.masked[focus]).sum(), rtol=1e-2)


def well(text):
    return text.replace("\ud800", "�")


@needs_browser
@pytest.mark.parametrize("name", ["encoder", "decoder", "dot"])
def test_the_focus_table_has_the_numbers_of_the_steps(shown, steps, name):
    found = steps[name]
    shown.open(name)
    heads = [0, 1] if len(found.attention.heads) > 1 else [0]
    says_the_row(shown, found, len(found.pieces) // 2, heads)
    shown.one("#token-1").click()
    says_the_row(shown, found, 1, heads)
    shown.press(Keys.ARROW_RIGHT)
    says_the_row(shown, found, 2, heads)
    assert shown.all("#row thead tr:first-child", "e.children.length") == [5 if found.attention.is_scaled else 4] * len(
        heads
    )
    # The mask of self-attention; the decoder's attention to the source has a different one.
    said = " ".join(shown.all("main section:nth-of-type(-n + 6) p", "e.innerText"))
    assert ("does not scale" in said) != found.attention.is_scaled
    assert ("LayerNorm" in said) == found.normed
    assert ("padding" in said) == (found.kind == "encoder")
    assert ("the future" in said) == (found.kind == "decoder")
    assert (f"Layer {found.layer} comes later" in said) == (found.layer > 0)


@needs_browser
def test_a_different_head_on_either_side(shown, steps):
    shown.open("decoder")
    shown.choose("#left", "3")
    says_the_row(shown, steps["decoder"], 3, [3, 1])
    shown.choose("#right", "2")
    says_the_row(shown, steps["decoder"], 3, [3, 2])
    assert shown.is_at(focus=3, left=3, right=2)
    assert shown.all("#vectors h3, #matrices h3, #contexts h3") == ["Head 3", "Head 2"] * 3
    assert shown.all(".joined .columns .on") == ["2", "3"] * 2


def maps_of(prefix, attention, focus):
    """The heatmaps of an attention."""
    head = attention.heads[1]
    maps = {
        "left-query": head.query[[focus]],
        "left-key": head.key,
        "left-value": head.value,
        "left-scores": head.scores,
        "left-scaled": head.scaled,
        "left-masked": head.masked,
        "left-weights": head.weights,
        "left-weighted": head.weights[focus][:, None] * head.value,
        "left-context": head.context[[focus]],
        "joined": np.concatenate([each.context[[focus]] for each in attention.heads], -1),
        "mixed": attention.output[[focus]],
    }
    return {prefix + name: values for name, values in maps.items()}


def layer_maps(found):
    """The heatmaps of the rest of the layer, by name."""
    forward, maps = found.feedforward, {}
    maps |= {"inner": forward.inner, "hidden": forward.hidden, "outer": forward.output}
    for name, residual, output in (
        ("added", found.attention_residual, found.attention.output),
        ("cross-added", found.cross_residual, found.cross and found.cross.output),
        ("fed", found.feedforward_residual, forward.output),
    ):
        if residual is not None:
            maps |= {f"{name}-x": residual.before, f"{name}-y": output, f"{name}-sum": residual.before + output}
            maps |= {} if found.normed else {f"{name}-normed": residual.norm.output}
    maps |= {} if found.cross is None else {"cross-x": found.cross.read}
    return maps | ({} if found.final is None else {"final-norm": found.final.output})


@needs_browser
@pytest.mark.parametrize("name", ["encoder", pytest.param("decoder", marks=pytest.mark.slow)])
def test_every_heatmap_has_its_numbers_and_its_colours(shown, steps, name):
    found = steps[name]
    head, focus = found.attention.heads[1], 2
    shown.open(name, f"#focus={focus}&right=0&left=1")
    maps = {
        "embedding": found.embedding,
        "positions": found.positions,
        "total": found.embedding + found.positions,
        "x": found.attention.read,
        **maps_of("", found.attention, focus),
        **(
            {}
            if found.cross is None
            else maps_of("cross-", found.cross, focus) | {"cross-x": found.cross.read[[focus]]}
        ),
        **{name: values[[focus]] for name, values in layer_maps(found).items()},
    }
    assert set(shown.all("canvas", "e.id")) == {*maps, *(key.replace("left", "right") for key in maps)}
    ids = shown.all("[id]", "e.id")
    assert len(ids) == len(set(ids))
    for canvas, values in maps.items():
        pixels = shown.pixels(canvas)
        assert pixels.shape[:2] == values.shape
        assert_array_equal(pixels[..., 3] == 0, np.isinf(values))
        finite = np.isfinite(values) & (np.abs(values) > 0.02 * np.abs(values[np.isfinite(values)]).max())
        warm = pixels[..., 0] > pixels[..., 2]
        assert_array_equal(warm[finite], values[finite] < 0)  # orange below zero, blue above
        light = np.array([luminance(f"{pixel[:3]}") for pixel in pixels.reshape(-1, 4)]).reshape(values.shape)
        for side in (values > 0, values < 0):
            order = np.argsort(np.abs(values[side & finite]))
            assert (np.diff(light[side & finite][order]) < 0.02).all(), canvas  # the further from zero, the darker
        row, column = values.shape[0] - 1, values.shape[1] - 1
        shown.point(canvas, row, column)
        number = float(shown.tip()[0].replace("-inf", "-Infinity"))
        assert_allclose(number, values[row, column], rtol=1e-3, atol=1e-3)
    shown.point("left-key", 3, 2)
    times = head.query[focus, 2] * head.key[3, 2]
    assert_allclose(float(shown.tip()[2].split("= ")[1]), times, rtol=2e-3)


@needs_browser
def test_a_click_on_a_row_makes_it_the_focus(shown, steps):
    shown.open()
    for canvas, row in (("left-weights", 4), ("x", 9), ("right-masked", 29)):
        shown.point(canvas, row, 3, click=True)
        says_the_row(shown, steps["encoder"], row, [0, 1])
        assert shown.one("#tip").is_displayed()
        assert shown.all(".framed", "+e.style.getPropertyValue('--at')") == [row] * (4 + 2 * 6)
    shown.point("mixed", 0, 3, click=True)
    assert shown.is_at(focus=29, left=0, right=1)
    shown.one("h1").click()
    assert not shown.one("#tip").is_displayed()


@needs_browser
def test_the_keyboard_reaches_everything(shown, steps):
    shown.open("decoder")
    for stop in ("summary", "#token-3", "#left", "#right", "#embedding"):
        shown.press(Keys.TAB)
        assert len(shown.all(f"{stop}:focus")) == 1, stop
    shown.press(Keys.ARROW_DOWN, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert_allclose(float(shown.tip()[0]), steps["decoder"].embedding[4, 2], rtol=1e-3)
    assert shown.tip()[1] == "▁w, number 2"
    shown.press(Keys.ENTER)
    says_the_row(shown, steps["decoder"], 4, [0, 1])
    assert len(shown.all("#embedding:focus")) == 1
    shown.press(Keys.ESCAPE)
    assert not shown.one("#tip").is_displayed()
    shown.one("#token-0").click()
    shown.press(Keys.ARROW_LEFT, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    says_the_row(shown, steps["decoder"], 2, [0, 1])
    assert shown.all(":focus", "e.id") == ["token-2"]


@needs_browser
def test_the_hash_keeps_the_choices(shown, steps):
    shown.open("decoder")
    assert shown.is_at(focus=3, left=0, right=1)
    shown.one("#token-5").click()
    shown.choose("#left", "2")
    shown.open("decoder", shown.run("return location.hash"))
    says_the_row(shown, steps["decoder"], 5, [2, 1])
    assert shown.all("select", "e.value") == ["2", "1"]
    for bad in ("#focus=6&left=-1&right=4&more=1", "#focus=1.5&left=__proto__&right=", "#%"):
        shown.open("decoder", bad)
        assert shown.is_at(focus=3, left=0, right=1)
    shown.run("location.hash = '#focus=0&right=3'")
    shown.wait(lambda: shown.all("#row h3") == ["Head 0", "Head 3"])
    says_the_row(shown, steps["decoder"], 0, [0, 3])


@needs_browser
def test_one_head_needs_no_choice(shown):
    shown.open("dot")
    assert not shown.one("#heads").is_displayed()
    assert shown.all("#row .card, #matrices .card, #contexts .card", "e.textContent.slice(0, 6)") == ["Head 0"] * 3
    assert shown.all("#left-scaled") == []


@needs_browser
@pytest.mark.parametrize("width", [1280, 390])
def test_hostile_text_is_text(shown, steps, width):
    shown.open("hostile", "#focus=0", width)
    says_the_row(shown, steps["hostile"], 0, [0, 1])
    assert shown.all("blockquote") == [well(HOSTILE)]
    assert shown.all("#about > dd")[0] == shown.all("#about > dt")[2] == well(HOSTILE)
    assert shown.all("#tokens button") == [well(piece) for piece in steps["hostile"].pieces]
    shown.point("left-weights", 0, 1)
    assert shown.tip()[1] == f"{steps['hostile'].pieces[0]} attends to <b>bold</b>"
    assert shown.all("main img, main script, #row b, #tip b, header img") == []
    assert shown.width() <= width


@needs_browser
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("name", ["encoder", "decoder"])
def test_no_labels_meet_and_the_page_never_scrolls_sideways(shown, steps, width, name):
    shown.open(name, width=width)
    pieces = len(steps[name].pieces)
    for plot in range(len(shown.all(".plot"))):
        shown.run("document.querySelectorAll('.plot').forEach((e, n) => e.id = n == arguments[0] ? 'here' : '')", plot)
        boxes = shown.boxes("#here span")
        assert_apart(boxes[(boxes[:, 1] - boxes[:, 0] > 1).all(-1)])
    lines = "parseFloat(getComputedStyle(e).fontSize) < parseFloat(getComputedStyle(e).lineHeight)"
    assert all(shown.all(".rows span, .square .columns span", lines))
    cut = "e.scrollWidth > e.clientWidth + 1 || e.scrollHeight > e.clientHeight + 1 ? e.textContent : null"
    assert {word for word in shown.all(".rows span, .columns span, #row th", cut) if word} <= {"▁unforget", "▁thunder"}
    assert pieces == (30 if name == "encoder" else 6)
    assert shown.width() <= width
    shown.point("right-weights", 1, pieces // 3)
    (left, _), (right, _) = shown.boxes("#tip")[0]
    assert 0 <= left < right <= width
    # The bar with the tokens stays, and the focus is in it.
    (left, top), (right, _) = shown.boxes("#tokens [aria-pressed=true]")[0]
    assert 0 <= top < 60
    assert 0 <= left < right <= width


@needs_browser
def test_both_themes_are_readable_and_change_while_the_page_is_open(shown, steps):
    shown.open("decoder", "#focus=2")
    pictures = []
    for theme in ("light", "dark"):
        shown.theme(theme)
        shown.point("left-weights", 2, 2)
        shown.assert_readable()
        pictures.append(shown.pixels("left-key"))
    key = np.abs(steps["decoder"].attention.heads[0].key)
    light, dark = (picture[..., :3].mean(-1) for picture in pictures)
    assert light[key < 0.1 * key.max()].mean() > 200 > 80 > dark[key < 0.1 * key.max()].mean()
    assert light.flat[key.argmax()] < 120 < dark.flat[key.argmax()]


@pytest.mark.parametrize("name", CHANGES)
def test_the_file_is_self_contained_and_its_data_are_the_steps_with_four_digits(pages, steps, name):
    data = data_of(pages / f"{name}.html")
    assert (data["about"], data["sentence"]) == (ABOUT, HOSTILE)
    same(data["steps"], steps[name])


def same(found, steps):
    """Field by field, in NumPy's own rounding."""
    assert found.keys() == {field.name for field in dataclasses.fields(steps)}
    for name, value in found.items():
        expected = getattr(steps, name)
        if name == "heads":
            for one, head in zip(value, expected, strict=True):
                same(one, head)
        elif dataclasses.is_dataclass(expected):
            same(value, expected)
        elif isinstance(expected, np.ndarray) and expected.dtype != bool:
            numbers = np.array(value, np.float64)
            assert_array_equal(np.where(np.isnan(numbers), -np.inf, numbers), four_digits(expected))
        else:
            plain = expected.tolist() if isinstance(expected, np.ndarray) else json.loads(json.dumps(expected))
            assert value == plain


@needs_browser
def test_a_page_begins_with_its_focus(chromium, steps, tmp_path):
    write_page(tmp_path / "focus.html", steps["decoder"], HOSTILE, ABOUT, focus=4)
    shown = Shown(chromium, tmp_path / "focus.html")
    shown.open("focus")
    says_the_row(shown, steps["decoder"], 4, [0, 1])
    shown.assert_quiet()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_unshowable_data_is_refused_and_leaves_no_file(steps, tmp_path, bad):
    broken = dataclasses.replace(steps["dot"], embedding=np.full((9, 16), bad))
    with pytest.raises(ValueError, match="JSON"):
        write_page(tmp_path / "a.html", broken, "", {})
    assert not list(tmp_path.iterdir())
