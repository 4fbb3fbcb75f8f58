"""Devices as a mesh, and where arrays live on it. One device is a mesh of one: there is no other path."""

from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from transformer import config
from transformer.errors import UsageError


def make_mesh(settings: config.Mesh) -> Mesh:
    """The mesh of the settings over all devices. Raises UsageError when there are too few."""
    devices = jax.devices()
    count = len(devices) if settings.data == -1 else settings.data
    if not 1 <= count <= len(devices):
        raise UsageError(f"--mesh.data={settings.data}, but {len(devices)} device(s) are there")
    return jax.make_mesh((count,), ("data",), axis_types=(AxisType.Auto,), devices=devices[:count])


def replicated(mesh: Mesh) -> NamedSharding:
    """The same on every device: parameters and optimizer state."""
    return NamedSharding(mesh, PartitionSpec())


def by_rows(mesh: Mesh) -> NamedSharding:
    """Axis 0 over the devices: batches."""
    return NamedSharding(mesh, PartitionSpec("data"))


def put_batch(mesh: Mesh, batch: Any) -> Any:
    """Host arrays to devices, their rows spread over the mesh."""
    return jax.tree.map(lambda x: jax.device_put(np.asarray(x), by_rows(mesh)), batch)
