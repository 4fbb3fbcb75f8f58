"""The Python interface as a notebook's user sees it."""

import dataclasses
import doctest
import io
import logging

import numpy as np
import pytest
from matplotlib import image

from tests.conftest import untrained
from transformer import api
from transformer.config import Attention, Rnn
from transformer.errors import UsageError


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture
def model(runs, settings):
    """An untrained Transformer."""
    if not (runs / "toy").exists():
        untrained(settings, runs / "toy")
    return api.load(runs / "toy")


def test_the_documentation_of_the_module_is_true():
    assert doctest.testmod(api) == (0, 13)


def test_a_loaded_model_is_described_in_a_line(model, runs):
    count = sum(np.size(leaf) for leaf in _leaves(model.parameters))
    expected = f"<TrainedModel of {runs / 'toy'}: Transformer, {count:,} parameters, step 1>"
    assert repr(model) == expected
    both = api.ensemble([model, model])
    assert repr(both).startswith(f"<TrainedModel of {runs / 'toy'} + {runs / 'toy'}: Transformer, {2 * count:,} ")
    predictor = api.load_predictor(runs / "toy")
    assert repr(predictor) == expected.replace("TrainedModel", "LoadedPredictor")
    assert repr(model.tokenizers.source) == f"<WordTokenizer of {model.tokenizers.source.size:,} entries>"


def _leaves(tree):
    return [leaf for value in tree.values() for leaf in (_leaves(value) if isinstance(value, dict) else [value])]


def test_loading_gives_no_warnings(model, runs, caplog, capfd, monkeypatch):
    monkeypatch.setattr(logging.getLogger("absl"), "level", logging.WARNING)  # as it is without the command line
    caplog.set_level(logging.WARNING)
    api.load(runs / "toy")
    assert caplog.text == ""
    assert capfd.readouterr() == ("", "")


def test_a_sentence_returns_a_sentence_and_a_list_returns_a_list(model):
    options = {"beam": 1, "max_length": 5}
    many = model.translate(["ba be", "bi"], **options)
    assert isinstance(many, list)
    assert model.translate("ba be", **options) == many[0]
    for method in (model.search, model.hypotheses):
        with pytest.raises(UsageError, match="list of lines"):
            method("ba be")


def test_tokens_are_text_too(model):
    (best,) = model.search(["ba be"], beam=1, max_length=5)
    assert best.pieces == tuple(model.tokenizers.target.pieces(best.tokens))
    scores = model.score(["ba be", "ba", "bi"], ["BE BA", "", " ".join(["BA"] * 40)])
    assert scores.pieces == [["BE", "BA", "</s>"], ["</s>"], []]
    assert [len(each) for each in scores.each] == [3, 1, 0]
    (attended,) = model.attend(["ba be"], ["BE BA"])
    assert repr(attended) == (
        "<Attended 'ba be' -> 'BE BA': cross [2, 2, 3, 3], encoder [2, 2, 3, 3], decoder [2, 2, 3, 3]>"
    )


def test_a_heatmap_shows_itself_in_a_notebook(model, tmp_path):
    picture = model.heatmap("ba be bi", "BI BE", layer=1, head=0, gold=frozenset({(0, 1)}))
    shown = image.imread(io.BytesIO(picture._repr_png_()))
    assert shown.ndim == 3
    assert shown[..., :3].std() > 0.05
    picture.save(tmp_path / "new" / "heatmap.png")
    assert (tmp_path / "new" / "heatmap.png").read_bytes() == picture._repr_png_()
    (attended,) = model.attend(["ba be bi"], ["BI BE"])
    weights = attended.cross[1, 0][:-1, :-1]
    np.testing.assert_allclose(
        picture.axes[0].images[0].get_array(), weights / weights.sum(-1, keepdims=True), rtol=1e-5
    )
    assert "layer 1, head 0" in picture.axes[0].get_title(loc="left")
    for arguments, complaint in ((("",), "is empty"), (("ba", "BA " * 50), "longer than 32 tokens")):
        with pytest.raises(UsageError, match=complaint):
            model.heatmap(*arguments)
    with pytest.raises(UsageError, match="layers 0 to 1"):
        model.heatmap("ba", "BA", layer=2)


def test_a_heatmap_needs_attention(runs, settings):
    plain = Rnn(embedding=8, width=8, attention=Attention(score="none"), max_length=32)
    untrained(dataclasses.replace(settings, model=plain), runs / "plain")
    with pytest.raises(UsageError, match="has no attention"):
        api.load(runs / "plain").heatmap("ba")
