import jax
import numpy as np
import pytest

from transformer.config import Mesh
from transformer.decoding import memory
from transformer.distributed.sharding import make_mesh
from transformer.errors import TransformerError


def test_a_state_must_fit_twice(monkeypatch):
    """20 x 5 float32 and 10 int8: 410 bytes."""
    shapes = [jax.ShapeDtypeStruct((20, 5), np.float32), jax.ShapeDtypeStruct((10,), np.int8)]
    mesh = make_mesh(Mesh())
    assert memory.available(mesh) > 2**20
    monkeypatch.setattr(memory, "available", lambda mesh: 820)
    memory.require(shapes, mesh, 20, 5)
    monkeypatch.setattr(memory, "available", lambda mesh: 819)
    with pytest.raises(
        TransformerError, match=r"the search of 20 sentences with 1 hypothesis each needs at least 0\.0 GiB"
    ):
        memory.require(shapes, mesh, 20, 1)
