"""Several devices, simulated on the CPU, each test in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

STEP = """
import dataclasses, sys
import jax, numpy as np
jax.config.update("jax_numpy_rank_promotion", "raise")
from tests.conftest import tiny
from tests.test_train import make_batch
from transformer import config, models, optim, parallel, train

settings = config.Config(model=tiny(), training=config.Training(accumulate=int(sys.argv[2])))
mesh = parallel.make_mesh(config.Mesh(data=int(sys.argv[1])))
graph, parameters = models.split(models.create(settings.model, 13, 13, 1))
optimizer = optim.optimizer(settings.optimizer, lambda _: 1e-3)
state = {"step": jax.numpy.int32(0), "parameters": parameters, "optimizer": optimizer.init(parameters)}
state = jax.device_put(state, parallel.replicated(mesh))
step = jax.jit(train.make_step(graph, optimizer, settings))
for number in range(3):
    state, metrics = step(state, parallel.put_batch(mesh, make_batch(16, number)))
    print(float(metrics["loss"]), float(metrics["grad_norm"]))
"""


def losses(devices: int, pieces: int) -> list[float]:
    environment = os.environ | {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"}
    command = [sys.executable, "-c", STEP, str(devices), str(pieces)]
    done = subprocess.run(
        command, env=environment, cwd=Path(__file__).parent.parent, capture_output=True, text=True, check=True
    )
    return [float(word) for word in done.stdout.split()]


@pytest.mark.slow
@pytest.mark.parametrize("pieces", [1, 2])
def test_four_devices_train_as_one_does(pieces):
    """Dropout on: masks depend on the position in the batch, not on the device."""
    assert losses(4, pieces) == pytest.approx(losses(1, pieces), rel=1e-5)


SEARCH = """
import sys
import numpy as np
from tests.decoding.test_engine import SETTINGS, V, _louder, jobs
from transformer import models, parallel
from transformer.config import Decoding, Mesh
from transformer.decoding.engine import Engine

graph, parameters = models.split(models.create(SETTINGS["transformer"], V, V, 3))
mesh = parallel.make_mesh(Mesh(int(sys.argv[1])))
engine = Engine(models.builder(graph), mesh, 32)
parameters = _louder(parameters, np.random.default_rng(1))
found = engine.run(parameters, jobs(50), Decoding(beam=3, batch=16))
for one in sorted(found, key=lambda one: one.number):
    print(one.number, round(float(one.scores[0]), 4), one.tokens[0][one.tokens[0] != 0].tolist())
"""


@pytest.mark.slow
def test_four_devices_translate_as_one_does():
    def printed(devices: int) -> list[str]:
        environment = os.environ | {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"}
        command = [sys.executable, "-c", SEARCH, str(devices)]
        done = subprocess.run(
            command, env=environment, cwd=Path(__file__).parent.parent, capture_output=True, text=True, check=True
        )
        return done.stdout.splitlines()

    one = printed(1)
    assert len(one) == 50
    assert printed(4) == one
