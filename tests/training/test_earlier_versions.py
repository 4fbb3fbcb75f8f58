"""Runs that version 0.1 trained load, translate, evaluate and resume as that version did.

`tests/fixtures/run_0.1` holds a Transformer and a recurrent model of 400 updates each, and what version 0.1 computed
with them, compiled with the flags of this suite.
"""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from transformer import api, cli
from transformer.config import read_config
from transformer.storage.run import Run
from transformer.training import logger as logbook
from transformer.training.run import train

FIXTURE = Path(__file__).parent.parent / "fixtures" / "run_0.1"
EXPECTED = json.loads((FIXTURE / "expected.json").read_text())
CLOSE = 1e-5
"""Relative: processors sum in different orders."""


@pytest.fixture(params=sorted(EXPECTED))
def name(request):
    return request.param


@pytest.fixture
def expected(name):
    return EXPECTED[name]


@pytest.fixture
def run(name, tmp_path):
    """A copy of the run, whose settings name the present path of the fixture's text."""
    shutil.copytree(FIXTURE / name, tmp_path / "run")
    stored = json.loads(Run(tmp_path / "run").config.read_text())
    for split in ("train", "validation", "test"):
        stored["config"]["data"][split] = str(FIXTURE / stored["config"]["data"][split])
    stored["config"]["data"]["cache"] = str(tmp_path / "cache")
    Run(tmp_path / "run").config.write_text(json.dumps(stored))
    return tmp_path / "run"


def test_it_translates_and_evaluates_as_before(run, expected):
    model = api.load(run)
    assert model.checkpoint == expected["checkpoint"]
    for search in expected["searches"]:
        found = model.search(expected["lines"], **search["options"])
        assert [best.text for best in found] == search["texts"]
        np.testing.assert_allclose([best.logp for best in found], search["logp"], rtol=CLOSE)
    cli.parse(["evaluate", str(run)])()
    result, wanted = json.loads((Run(run).report / "test.json").read_text()), expected["evaluation"]
    assert (Run(run).report / "test.hypotheses").read_text().splitlines() == wanted["hypotheses"]
    assert {name: score["value"] for name, score in result["scores"].items()} == pytest.approx(wanted["scores"])
    assert result["perplexity"] == pytest.approx(wanted["perplexity"], rel=CLOSE)


def test_it_resumes_as_before(run, expected):
    settings = read_config(run)
    longer = dataclasses.replace(settings.training, steps=406, log_every=1)
    train(dataclasses.replace(settings, training=longer), run, "toy", resume=True)
    records = [record for record in logbook.read(Run(run).metrics) if record["step"] > 400]
    places, losses = ([[one[key] for key in keys] for one in records] for keys in (("kind", "step"), ("loss",)))
    assert places == [[one["kind"], one["step"]] for one in expected["resumed"]]
    np.testing.assert_allclose(losses, [[one["loss"]] for one in expected["resumed"]], rtol=CLOSE)
