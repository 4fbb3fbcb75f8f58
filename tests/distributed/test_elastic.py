"""A checkpoint is not tied to a number of devices: 4 devices and 1 device read what 8 devices save, bit for bit.

Whole runs that are resumed on 1, 3, 8 and 16 devices and by two processes are in `training/test_faults.py`, slow too.
The default suite resumes on one device (`training/test_restore.py`), and compares the updates of 8 devices with those
of one (`test_sharding.py`).
"""

import os
import subprocess
import sys

import pytest

from tests import meshes

RESUME = """
import sys
from pathlib import Path

import jax
import numpy as np

from transformer.config import Mesh, Training
from transformer.distributed import sharding as parallel
from transformer.training.checkpoint import Checkpoints

shapes = {"table": (16, 8), "scale": (3,)}  # the latter divides by no number of devices
parameters = {name: np.arange(np.prod(shape), dtype=np.float32).reshape(shape) for name, shape in shapes.items()}
state = {"step": np.int32(7), "parameters": parameters, "optimizer": {"mu": parameters}}

def on(**axes):
    mesh = parallel.make_mesh(Mesh(**axes))
    return mesh, parallel.put(state, parallel.shardings_for(mesh, state, ()))

checkpoints = Checkpoints(Path(sys.argv[1]), Training())
checkpoints.save(on(data=1, fsdp=8)[1], {"epoch": 2, "position": 5}, None)
checkpoints.settle()
for axes in ({"data": 4}, {"data": 1, "fsdp": 4}, {"data": 1, "fsdp": 2, "model": 4}, {"data": 1}):
    mesh, like = on(**axes)
    found, host = checkpoints.resume(like, mesh)
    jax.tree.map(np.testing.assert_array_equal, found, state)
    assert host == {"epoch": 2, "position": 5}, host
    table = found["parameters"]["table"]
    assert len(table.sharding.device_set) == mesh.size, table.sharding
    assert table.addressable_shards[0].data.shape[1] == 8 // axes.get("fsdp", 1)
checkpoints.close()
print("equal")
"""


@pytest.mark.slow
def test_fewer_devices_read_what_8_devices_save(tmp_path):
    environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=8"}
    command = [sys.executable, "-W", "ignore", "-c", RESUME, str(tmp_path / "checkpoints")]
    done = subprocess.run(command, env=environment, cwd=meshes.ROOT, capture_output=True, text=True)
    assert done.stdout == "equal\n", done.stderr
