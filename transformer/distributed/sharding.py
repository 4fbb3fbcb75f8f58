"""Devices as a mesh, and where arrays live on it. One device is a mesh of one: there is no other path.

The axes of a mesh are `data`, `fsdp` and `model`. Rows of a batch are spread over the first two, and parameters and
optimizer over the last two, as rules say (`PARAMETERS`). The gradient is computed row by row, each device doing its own
rows and summing once at the end (`sum_over_rows`); everything else is left to XLA, which follows from where the arrays
are.
"""

import math
import re
from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from transformer.distributed import config
from transformer.errors import UsageError

AXES = ("data", "fsdp", "model")
ROWS = ("data", "fsdp")
"""Axes over which the rows of a batch are spread."""

Rules: TypeAlias = tuple[tuple[str, PartitionSpec], ...]
"""Patterns of paths, and where what has such a path lives: the first pattern found says it. An axis of an array that
does not divide over its axis of the mesh stays whole."""

PARAMETERS: Rules = (
    (r"(attention|cross)/(query|key|value)$", PartitionSpec(None, "fsdp", "model", None)),  # [L, D, H, K]
    (r"(attention|cross)/output$", PartitionSpec(None, "model", None, "fsdp")),  # [L, H, K, D]
    (r"feedforward/(inner|gate)$", PartitionSpec(None, "fsdp", "model")),  # [L, D, F]
    (r"feedforward/inner_bias$", PartitionSpec(None, "model")),  # [L, F]
    (r"feedforward/outer$", PartitionSpec(None, "model", "fsdp")),  # [L, F, D]
    (r"table$", PartitionSpec("model", "fsdp")),  # [V, D]
    (r"output/bias$", PartitionSpec("model")),  # [V]
    (r"(input|recurrent|combine|deep|maps/\d+)$", PartitionSpec("fsdp", None)),  # recurrent models' matrices
    (r"", PartitionSpec()),
)
"""Parameters, and what an optimizer keeps of them."""

CACHES: Rules = (
    (r"(keys|values)/\d+$", PartitionSpec(ROWS, "model")),  # [B, H, ...], one for each layer of a Transformer
    (r"", PartitionSpec(ROWS)),
)
"""The state of a search: the keys and values of its sentences, and all else of them."""


def make_mesh(settings: config.Mesh) -> Mesh:
    """The mesh of the settings over all devices. Raises UsageError when they do not go into it."""
    devices = jax.devices()
    sizes = {axis: getattr(settings, axis) for axis in AXES}
    flags = " ".join(f"--mesh.{axis}={size}" for axis, size in sizes.items() if size != 1)
    free = [axis for axis, size in sizes.items() if size == -1]
    given = math.prod(size for size in sizes.values() if size != -1)
    if len(free) > 1 or any(size < 1 and size != -1 for size in sizes.values()):
        raise UsageError(f"{flags}: sizes are at least 1, and one of them may be -1, for all devices that are left")
    if given > len(devices) or (free and len(devices) % given):
        raise UsageError(f"{flags}: {len(devices)} device(s) are there, which do not divide so")
    for axis in free:
        sizes[axis] = len(devices) // given
    count = math.prod(sizes.values())
    if count < len(devices) and jax.process_count() > 1:
        raise UsageError(f"{flags}: a job of several processes uses all of its {len(devices)} devices, not {count}")
    return jax.make_mesh(tuple(sizes.values()), AXES, axis_types=(AxisType.Auto,) * 3, devices=devices[:count])


def row_shards(mesh: Mesh) -> int:
    """Parts into which the rows of a batch are cut."""
    return _size(mesh, ROWS)


def replicated(mesh: Mesh) -> NamedSharding:
    """The same on every device."""
    return NamedSharding(mesh, PartitionSpec())


def row_sharding(mesh: Mesh) -> NamedSharding:
    """Axis 0 over the devices: batches, and what belongs to their sentences."""
    return NamedSharding(mesh, PartitionSpec(ROWS))


def shardings_for(mesh: Mesh, tree: Any, rules: Rules = PARAMETERS) -> Any:
    """Where each leaf of parameters, optimizer or training state lives; or, with `CACHES`, of a search."""

    def one(path: Any, leaf: Any) -> NamedSharding:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        spec = next(spec for pattern, spec in rules if re.search(pattern, name))
        axes = [axis if axis and leaf.shape[n] % _size(mesh, axis) == 0 else None for n, axis in enumerate(spec)]
        return NamedSharding(mesh, PartitionSpec(*axes))

    return jax.tree_util.tree_map_with_path(one, tree)


def _size(mesh: Mesh, axes: str | tuple[str, ...]) -> int:
    return math.prod(mesh.shape[axis] for axis in ([axes] if isinstance(axes, str) else axes))


def padded_rows(mesh: Mesh, rows: int, pieces: int = 1) -> int:
    """Rows of a batch that divides over the mesh, and each share into `pieces`; those beyond `rows` are empty."""
    multiple = row_shards(mesh) * pieces
    return -(-rows // multiple) * multiple


def local_rows(mesh: Mesh, rows: int) -> np.ndarray:
    """Of the rows of a batch those that live on this process' devices, ascending: the ones it has to read."""
    places = row_sharding(mesh).addressable_devices_indices_map((rows,)).values()
    return np.unique(np.concatenate([np.arange(rows)[place] for place in places if place is not None]))


def put_batch(mesh: Mesh, batch: Any) -> Any:
    """Host arrays to devices, their rows spread over the mesh; each process has its own rows, as `local_rows` says."""
    own = local_rows(mesh, row_shards(mesh))

    def one(part: np.ndarray) -> jax.Array:
        each = len(part) // len(own)

        def share(place: Any) -> np.ndarray:
            first = int(np.searchsorted(own, (place[0].start or 0) // each)) * each
            return part[first : first + each]

        return jax.make_array_from_callback((each * row_shards(mesh), *part.shape[1:]), row_sharding(mesh), share)

    return jax.tree.map(lambda part: one(np.asarray(part)), batch)


def put_per_device(mesh: Mesh, own: np.ndarray) -> jax.Array:
    """[N, ...]: a row for each device, which its process gives."""
    sharding = NamedSharding(mesh, PartitionSpec(AXES))
    return jax.make_array_from_callback((mesh.size, *own.shape), sharding, lambda _: own[None])


def put(tree: Any, shardings: Any) -> Any:
    """Arrays that every process has, to where they live. Copied: who is given them may donate them."""

    def one(leaf: Any, sharding: NamedSharding) -> jax.Array:
        whole = np.asarray(leaf)
        return jnp.copy(jax.make_array_from_callback(whole.shape, sharding, lambda place: whole[place]))

    return jax.tree.map(one, tree, shardings)


def local_mesh(mesh: Mesh) -> Mesh:
    """The devices of this process alone, all of them sharing rows; the mesh itself where there is one process."""
    if jax.process_count() == 1:
        return mesh
    return jax.make_mesh(
        (jax.local_device_count(), 1, 1), AXES, axis_types=(AxisType.Auto,) * 3, devices=jax.local_devices()
    )


def to_local_mesh(tree: Any, mesh: Mesh) -> Any:
    """Arrays of all processes as arrays of this process' own mesh, whole on each of its devices."""
    if jax.process_count() == 1:
        return tree
    whole = jax.jit(lambda x: x, out_shardings=jax.tree.map(lambda leaf: replicated(leaf.sharding.mesh), tree))(tree)
    return jax.tree.map(lambda leaf: jax.device_put(leaf.addressable_data(0), replicated(mesh)), whole)


def sum_over_rows(
    mesh: Mesh, parameters: Any, function: Callable[..., tuple[Any, Any]]
) -> Callable[..., tuple[Any, Any]]:
    """The function of a whole batch, computed by each device on its own rows and summed once at the end.

    Left to itself XLA would sum as soon as it can: at every step of a scan over time, and for every piece of the loss.

    Parameters that are kept in parts (`fsdp`) are put together at the beginning, and what is summed is cut again, so
    that each device gets the part of it that it keeps. The axis `model` stays XLA's.

    Args:
        mesh: the devices.
        parameters: what the function will be called with, or its shapes.
        function: (parameters, batch, more) -> (gradients like parameters, other sums), both sums over the batch's rows.
    """
    specs = jax.tree.map(lambda own: _only(own.spec, ROWS), shardings_for(mesh, parameters))

    def whole(leaf: jax.Array, spec: PartitionSpec) -> jax.Array:
        for axis, name in enumerate(spec):
            if name and mesh.shape[name] > 1:
                leaf = jax.lax.all_gather(leaf, name, axis=axis, tiled=True)
        return leaf

    def total(leaf: jax.Array, done: set[str]) -> jax.Array:
        axes = tuple(name for name in ROWS if mesh.shape[name] > 1 and name not in done)
        return jax.lax.psum(leaf, axes) if axes else leaf

    def summed(leaf: jax.Array, spec: PartitionSpec) -> jax.Array:
        cut = [(axis, name) for axis, name in enumerate(spec) if name and mesh.shape[name] > 1]
        for axis, name in cut:
            leaf = jax.lax.psum_scatter(leaf, name, scatter_dimension=axis, tiled=True)
        return total(leaf, {name for _, name in cut})

    def share(parameters: Any, batch: Any, *more: Any) -> tuple[Any, Any]:
        gradients, sums = function(jax.tree.map(whole, parameters, specs), batch, *more)
        return jax.tree.map(summed, gradients, specs), jax.tree.map(lambda leaf: total(leaf, set()), sums)

    def over_rows(parameters: Any, batch: Any, *more: Any) -> tuple[Any, Any]:
        each = jax.shard_map(
            share,
            mesh=mesh,
            in_specs=(specs, PartitionSpec(ROWS), *[PartitionSpec()] * len(more)),
            out_specs=(specs, PartitionSpec()),
            axis_names=set(ROWS),
            check_vma=False,
        )
        found: tuple[Any, Any] = each(parameters, batch, *more)
        return found

    return over_rows


def _only(spec: PartitionSpec, axes: tuple[str, ...]) -> PartitionSpec:
    return PartitionSpec(*[name if name in axes else None for name in spec])
