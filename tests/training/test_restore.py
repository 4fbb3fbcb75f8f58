"""Which checkpoint of a run is used, and what the log says."""

import json
import logging

import jax
import numpy as np
import optax
import pytest

from tests.conftest import untrained
from transformer.distributed import sharding as parallel
from transformer.distributed.config import Mesh
from transformer.errors import TransformerError
from transformer.models.build import split
from transformer.storage.run import Run
from transformer.tasks.translation.prepare import prepare
from transformer.training import loop
from transformer.training.checkpoint import Checkpoints
from transformer.training.loop import LoopState
from transformer.training.restore import restore
from transformer.training.stored import StoredCheckpoints


@pytest.fixture
def unvalidated(settings, tmp_path):
    """A run that was stopped at step 12, before its first validation, and its parameters."""
    folder = untrained(settings, tmp_path / "run")
    _, parameters = split(prepare(settings, folder).build_model())
    checkpoints = Checkpoints(Run(folder).checkpoints, settings.training)
    state = {"step": jax.numpy.int32(12), "parameters": parameters, "optimizer": {"none": jax.numpy.int32(0)}}
    checkpoints.save(state, LoopState().to_json(), None)
    checkpoints.close()
    note = Run(folder).checkpoints / "1" / "host" / "metadata"
    note.write_text(json.dumps({**json.loads(note.read_text()), "quality": None}))
    return Run(folder), parameters


@pytest.mark.parametrize("name", ["auto", "best"])
def test_without_a_validation_the_log_says_that_the_last_is_used(settings, unvalidated, caplog, name):
    run, like = unvalidated
    with caplog.at_level(logging.WARNING):
        found = restore(run, name, like, settings.training, parallel.make_mesh(Mesh()))
    assert (found.name, found.best) == ("step 12", False)
    assert f"{run.folder} has no validated checkpoint: using the last, step 12" in caplog.text


def test_a_requested_checkpoint_is_not_announced(settings, unvalidated, caplog):
    run, like = unvalidated
    assert restore(run, "last", like, settings.training, parallel.make_mesh(Mesh())).name == "step 12"
    assert "using the last" not in caplog.text


@pytest.mark.parametrize("content", ["{", "5", '{"steps": [6, 12]}'])
def test_a_damaged_record_of_the_average_is_reported_and_the_best_is_used(settings, trained, caplog, tmp_path, content):
    folder = untrained(settings, tmp_path / "run")
    Run(folder).average.mkdir()
    (Run(folder).average / "average.json").write_text(content)
    _, like = split(prepare(settings, folder).build_model())
    found = restore(Run(folder), "auto", like, settings.training, parallel.make_mesh(Mesh()))
    assert (found.name, found.best) == ("step 1", True)
    assert found.describe() == "step 1, the best validated"
    assert "the average cannot be used: " in caplog.text
    assert "average.json is damaged" in caplog.text


def test_a_file_in_place_of_the_checkpoints_is_named(settings, tmp_path):
    Run(tmp_path).checkpoints.touch()
    for opened in (Checkpoints, StoredCheckpoints):
        with pytest.raises(TransformerError, match="checkpoints is a file, not a folder of checkpoints"):
            opened(Run(tmp_path).checkpoints, settings.training)


@pytest.mark.parametrize("values", [{}, {"minutes": 1.0, "best": None, "bad": 0, "epoch": 0}])
def test_a_state_without_the_host_state_is_damaged(tmp_path, values):
    class Found:
        folder = tmp_path

        def resume(self, like, mesh):
            return {"step": np.int32(6)}, values

    parameters = {"w": np.zeros(2, np.float32)}
    with pytest.raises(TransformerError, match=r"the checkpoint .*6 is damaged: `host` has no valid "):
        loop._begin(Found(), parameters, optax.sgd(1.0), parallel.make_mesh(Mesh()), ema=False)
