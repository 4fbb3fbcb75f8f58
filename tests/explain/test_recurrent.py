"""The steps of recurrent decoders equal the model's, and text and page show them."""

import functools
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from numpy.testing import assert_allclose

from tests.browser import Page, browser, data_of, needs_browser
from transformer.config import Attention, Rnn
from transformer.errors import TransformerError
from transformer.explain.numbers import array, sigmoid
from transformer.explain.page import write_page
from transformer.explain.recurrent import cells
from transformer.explain.recurrent.cells import Part, step
from transformer.explain.recurrent.steps import decoder_steps
from transformer.explain.recurrent.terminal import text
from transformer.models.build import create, split

SOURCE, TARGET = [5, 6, 7, 3, 0], [2, 7, 8, 9]
FROM, INTO = ["a", "b", "c", "</s>", "<pad>"], ["<s>", "x", "y", "z"]
SETTINGS = {
    "bahdanau": {"decoder": "bahdanau", "cell": "gru", "bidirectional": True, "attention": Attention(score="additive")},
    "luong": {"decoder_layers": 2, "encoder_layers": 2, "attention": Attention(score="general")},
    "local_p": {
        "cell": "gru", "input_feeding": False, "attention": Attention(score="dot", window="local_p", half_width=1),
    },
    "location": {"attention": Attention(score="location", positions=3)},
    "concat": {
        "decoder": "bahdanau", "decoder_layers": 2, "reverse": True,
        "attention": Attention(score="concat", window="local_m", half_width=1),
    },
    "sutskever": {"reverse": True, "attention": Attention(score="none")},
    "cho": {"decoder": "bahdanau", "cell": "gru", "attention": Attention(score="none")},
}  # fmt: skip


def names(ids):
    return [f"w{id_}" for id_ in ids]


@functools.cache
def make(name):
    """A random model, loud enough that numbers differ, and its steps."""
    graph, parameters = split(create(Rnn(embedding=6, width=8, max_length=32, **SETTINGS[name]), 13, 13, 1))
    random = np.random.default_rng(0)
    louder = jax.tree.map(lambda p: p + 0.3 * random.normal(size=p.shape).astype(np.float32), parameters)
    model = nnx.merge(graph, louder)
    memory = model.encode(jnp.array([SOURCE]))
    return model, memory, decoder_steps(model, memory, FROM, TARGET, INTO, names)


@pytest.mark.parametrize("name", SETTINGS)
def test_steps_equal_teacher_forcing(name):
    """They are compared with the search's steps; `decode` is the other path through the model."""
    model, memory, steps = make(name)
    hidden, record = model.decode(memory, jnp.array([TARGET]), weights=True)
    assert_allclose(steps.readout[-1].values, hidden[0], rtol=1e-3, atol=1e-4)
    probabilities = np.asarray(jax.nn.softmax(model.output(hidden)[0]))
    assert_allclose(steps.prediction.probabilities[:, 0], probabilities.max(-1), rtol=1e-3)
    if steps.attention is None:
        assert record.cross is None
        return
    weights = steps.attention.weights
    assert_allclose(weights, record.cross[0, 0, 0], rtol=1e-3, atol=1e-5)
    assert not weights[:, 4].any(), "no token attends to padding"
    assert_allclose(steps.attention.context[2], sum(weights[2, n] * steps.attention.memory[n] for n in range(5)))


@pytest.mark.parametrize("name", ["bahdanau", "luong"])
def test_cells_and_readouts_follow_from_the_printed_numbers(name):
    """The formulas as the text states them, from one named part to the next."""
    _, _, steps = make(name)
    for layer in steps.layers:
        v = {part.name: part.values for part in layer}
        assert_allclose(v["h"][1:], v["h'"][:-1])
        for gate in set("zrifo") & v.keys():
            assert_allclose(v[gate], 1 / (1 + np.exp(-v[f"a_{gate}"])))
        if steps.cell == "gru":
            assert_allclose(v["r h"], v["r"] * v["h"])
            assert_allclose(v["h'"], (1 - v["z"]) * v["h"] + v["z"] * np.tanh(v["a"]))
        else:
            assert_allclose(v["c'"], v["f"] * v["c"] + v["i"] * np.tanh(v["a_g"]))
            assert_allclose(v["h'"], v["o"] * np.tanh(v["c'"]))
    fed, read = ({part.name: part.values for part in parts} for parts in (steps.inputs, steps.readout))
    if name == "luong":
        assert_allclose(fed["h~"], np.concatenate([np.zeros((1, 8)), read["h~"][:-1]]))
    else:
        assert_allclose(read["t"][:, 1], np.maximum(read["t~"][:, 2], read["t~"][:, 3]))
        assert_allclose(fed["c"], steps.attention.context)


def test_a_gru_by_hand():
    """One number wide: the reset gate halves the state before its product."""
    matrices = {"input": np.array([[0.0, 0, 1]]), "recurrent": np.array([[0.0, 0, 2]])}
    cell = SimpleNamespace(kind="gru", bias=np.zeros(3), **matrices)
    (state,), parts = step(cell, np.array([3.0]), (np.array([4.0]),))
    assert [float(part.values[0]) for part in parts[4:7]] == [0.5, 2, 3 + 2 * 2]
    assert_allclose(state, 0.5 * 4 + 0.5 * np.tanh(7))


def test_a_gru_that_resets_after_the_product_is_not_the_models(monkeypatch):
    """The comparison detects a different computation: here that of cuDNN."""

    def after(cell, x, state):
        (h,) = state
        z, r, a = np.split(x @ array(cell.input) + array(cell.bias), 3)
        u_z, u_r, u = np.split(h @ array(cell.recurrent), 3)
        z, r = sigmoid(z + u_z), sigmoid(r + u_r)
        return ((1 - z) * h + z * np.tanh(a + r * u),), (Part("h'", "", h),)

    model, memory, _ = make("bahdanau")
    monkeypatch.setattr(cells, "_gru", after)
    with pytest.raises(TransformerError, match="state of layer 0 after token 0: the computed numbers differ"):
        decoder_steps(model, memory, FROM, TARGET, INTO, names)


def test_the_text_has_the_steps_in_the_decoders_order():
    _, _, steps = make("bahdanau")
    said = text(steps, 2)
    assert 'This step reads "y"' in said
    assert said.index("The query q is the state before") < said.index("The GRU cell") < said.index("Readout")
    assert "resets after it" in said
    line = next(line for line in said.splitlines() if line.startswith("   a  "))
    assert f"{steps.attention.comparison.products[2, 0]:8.2f}" in line
    assert f"{steps.attention.weights[2, 0]:8.3f}" in line
    assert f"{steps.prediction.probabilities[2, 0]:.3f}" in said
    said = text(make("local_p")[2], 1)
    assert said.index("The GRU cell") < said.index("The query q is the new state")
    assert "The window is centred on source token" in said
    assert "gain" in said
    assert "This decoder has no attention." in text(make("sutskever")[2], 1)


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("chromium")) as driver:
        yield driver


@needs_browser
@pytest.mark.parametrize("name", ["bahdanau", "local_p", "cho"])
def test_the_page_shows_each_step(name, chromium, tmp_path):
    _, _, steps = make(name)
    write_page(tmp_path / "page.html", steps, "<b>a</b>", {"run": "toy"})
    assert data_of(tmp_path / "page.html")["steps"]["pieces"] == INTO
    page = Page(chromium, tmp_path / "page.html")
    for width in (1280, 390):
        page.open("#focus=1", width)
        assert page.width() <= width
        page.one("#token-3").click()
        assert page.is_at(focus=3)
        bars = "e.offsetWidth > e.clientWidth || e.scrollHeight > e.clientHeight"
        assert not any(page.all(".squares .scroll", bars)), "the frame of the last row fits"
        assert page.all("blockquote") == ["<b>a</b>"]
        titles = ["Tokens", "The cell", "Attention to the source", "The readout", "The next token after z"]
        order = {"bahdanau": [0, 2, 1, 3, 4], "local_p": [0, 1, 2, 3, 4], "cho": [0, 1, 3, 4]}[name]
        assert page.all("h2") == [f"{n}{titles[place]}" for n, place in enumerate(order, 1)]
        rows = page.all("#prediction tbody tr", "[...e.children].map(cell => cell.textContent)")
        assert [row[0] for row in rows] == list(steps.prediction.words[3])
        assert_allclose([float(row[2]) for row in rows], steps.prediction.probabilities[3], atol=6e-4)
        worked = page.all("#cell-0 tbody tr", "[...e.children].map(cell => cell.textContent)")
        assert [row[0] for row in worked] == [part.name for part in steps.layers[0]]
        values = np.array([part.values[3, :4] for part in steps.layers[0]])
        assert_allclose(np.array([row[1:] for row in worked], float), values, atol=6e-3)
        if steps.attention is None:
            continue
        rows = page.all("#row tbody tr", "[...e.children].map(cell => cell.textContent)")
        assert [row[0] for row in rows] == FROM
        assert_allclose([float(row[1]) for row in rows], steps.attention.comparison.products[3], atol=6e-3)
        assert_allclose([float(row[-1][:5]) for row in rows], steps.attention.weights[3], atol=6e-4)
        assert rows[4][-1][5:] == "padding"
        page.point("source-terms", 2, 3)
        compared = steps.attention.comparison
        query, key = compared.left[3, 3], compared.right[2, 3]
        expected = query * key if compared.vector is None else compared.vector[3] * np.tanh(query + key)
        assert_allclose(float(page.tip()[0]), expected, rtol=2e-3)
        page.point("source-terms", 2, 3, click=True)
        assert page.is_at(focus=3), "a row of the source is no step"
        page.point("source-weights", 0, 1, click=True)
        assert page.is_at(focus=0)
    page.theme("dark")
    page.assert_readable()
    page.assert_quiet()
