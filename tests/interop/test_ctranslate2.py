"""Exports to CTranslate2, whose own greedy search then gives the same translations as ours."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from tests.conftest import tiny, toy, untrained
from transformer import api
from transformer.commands.export import Export
from transformer.commands.options import Search
from transformer.commands.translate import Translate
from transformer.config import Attention, Decoding
from transformer.errors import UsageError
from transformer.interop import ctranslate2 as interop
from transformer.models.transformer import ctranslate2 as family
from transformer.storage.run import Run

pytest.importorskip("ctranslate2")

LINES = ["ba be", "bi bo bu da", "de", "ba ge ki lo mu", "ko ku ni"]
MODELS = {
    "post-norm with biases": {"attention": Attention(heads=2, bias=True), "output_bias": True, "norm_epsilon": 1e-5},
    "pre-norm, rotary, swiglu": {"norm": "pre", "positions": "rotary", "activation": "swiglu", "tie": "none"},
    "RMSNorm, Shaw": {"norm": "pre", "norm_kind": "rms", "positions": "shaw", "tie": "target"},
    "learned, not scaled": {"positions": "learned", "activation": "silu", "scale_embeddings": False},
}


@pytest.fixture
def run_of(corpora, tmp_path):
    def make(**changes):
        return untrained(dataclasses.replace(toy(corpora, tmp_path / "cache"), model=tiny(**changes)), tmp_path / "run")

    return make


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_greedy_translations_are_equal(run_of, name):
    """Parameters are drawn anew, wide enough that neither biases nor positions are zero and translations differ."""
    model = api.load(run_of(**MODELS[name]))
    generator = np.random.default_rng(3)
    drawn = jax.tree.map(
        lambda x: np.asarray(x + 0.3 * generator.standard_normal(x.shape), np.float32), model.parameters
    )
    model = dataclasses.replace(model, parameters=drawn)
    fast = interop.searching(model)
    ours, theirs = (one.search(LINES, beam=1, max_length=12) for one in (model, fast))
    assert [one.tokens for one in ours] == [one.tokens for one in theirs]
    for one, other in zip(ours, theirs, strict=True):
        # Probabilities there are of the allowed tokens only, and at the limit no end token is counted.
        assert other.logp >= one.logp - 1e-3


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"positions": "alibi"}, "--model.positions=alibi"),
        ({"positions": "t5"}, "--model.positions=t5"),
        (
            {"attention": Attention(heads=2, normalizer="entmax", places=("cross",))},
            "--model.attention.normalizer=entmax",
        ),
        ({"attention": Attention(heads=2, key_value_heads=1)}, "--model.attention.key-value-heads=1"),
        ({"attention": Attention(heads=2, query_key_norm=True)}, "query-key-norm"),
    ],
)
def test_what_ctranslate2_does_not_have_is_refused(changes, named):
    with pytest.raises(UsageError, match=named):
        family.check(tiny(**changes))


@pytest.mark.parametrize(
    ("changes", "named"),
    [({"samples": 2}, "--samples=2"), ({"beam": 4}, "--normalize=gnmt"), ({"coverage_penalty": 0.1}, "--coverage")],
)
def test_a_search_that_ctranslate2_does_not_have_is_refused(changes, named):
    with pytest.raises(UsageError, match=named):
        interop.check_search(dataclasses.replace(Decoding(beam=1), **changes))
    interop.check_search(Decoding(beam=4, normalize="average"))


def test_an_export_is_made_once_for_each_checkpoint(run_of, tmp_path):
    """The command writes the same lines in the same formats, also in int8."""
    run = run_of(dropout=0.0)
    (tmp_path / "in").write_text("ba be\n\nde\n")
    search = Search(beam=2, normalize="average", n_best=2)
    for number, quantization in enumerate(("float32", "int8", "float32")):
        out = tmp_path / f"out{number}"
        Translate(
            str(run), str(tmp_path / "in"), str(out), engine="ctranslate2", format="json", search=search,
            quantization=quantization,
        )()  # fmt: skip
        rows = [json.loads(line) for line in out.read_text().splitlines()]
        assert [row["line"] for row in rows] == [1, 2, 3]
        assert [len(row["hypotheses"]) for row in rows] == [2, 1, 2]
        if number == 0:
            made = (Run(run).exports / "float32" / "model.bin").stat().st_mtime_ns
    assert (Run(run).exports / "float32" / "model.bin").stat().st_mtime_ns == made
    model = api.load(run)
    changed = dataclasses.replace(model, parameters=jax.tree.map(lambda x: x + 1, model.parameters))
    interop.searching(changed)
    assert (Run(run).exports / "float32" / "model.bin").stat().st_mtime_ns != made


def test_an_export_has_its_tokenizers_and_a_note(run_of, tmp_path):
    Export(str(run_of()), str(tmp_path / "out"), "ctranslate2", "int16")()
    assert {"model.bin", "config.json", "README.txt", "tokenizer"} <= {
        path.name for path in (tmp_path / "out").iterdir()
    }
    assert "suppress_sequences=[['<pad>'], ['<s>']]" in (tmp_path / "out" / "README.txt").read_text()
