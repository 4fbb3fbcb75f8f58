"""Devices as a mesh, and how arrays are sharded over it. A single device is a mesh of size one.

The axes of a mesh are `data`, `fsdp` and `model`. The rows of a batch are sharded over the first two, parameters and
optimizer over the last two, by rules: those shared by all model families are here, those of one family in its folder.
Each device computes the gradient of its own rows, and all are summed once at the end (`sum_over_rows`); the rest is
left to XLA, which derives it from the shardings of the arrays.
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
"""Axes over which the rows of a batch are sharded."""

Rules: TypeAlias = tuple[tuple[str, PartitionSpec], ...]
"""Patterns of paths with the sharding of their arrays: the first pattern that matches decides. An axis of an array
stays whole if its size is not divisible by that of its axis of the mesh."""

SHARED: Rules = (
    (r"table$", PartitionSpec("model", "fsdp")),  # [V, D], embeddings
    (r"output/bias$", PartitionSpec("model")),  # [V]
    (r"", PartitionSpec()),
)
"""Parameters of every model family, and what an optimizer keeps of them; a family's own rules come first."""

SENTENCES: Rules = ((r"", PartitionSpec(ROWS)),)
"""The state of a search, [B, ...]; a family's own rules come first."""


def make_mesh(settings: config.Mesh) -> Mesh:
    """The mesh of the settings over all devices. Raises UsageError if the devices cannot be arranged in this way."""
    devices = jax.devices()
    sizes = {axis: getattr(settings, axis) for axis in AXES}
    flags = " ".join(f"--mesh.{axis}={size}" for axis, size in sizes.items() if size != 1)
    free = [axis for axis, size in sizes.items() if size == -1]
    given = math.prod(size for size in sizes.values() if size != -1)
    if len(free) > 1 or any(size < 1 and size != -1 for size in sizes.values()):
        raise UsageError(f"{flags}: sizes are at least 1, and one of them may be -1, for all remaining devices")
    if given > len(devices) or (free and len(devices) % given):
        raise UsageError(f"{flags}: these sizes do not divide the number of devices, {len(devices)}")
    for axis in free:
        sizes[axis] = len(devices) // given
    count = math.prod(sizes.values())
    if count < len(devices) and jax.process_count() > 1:
        raise UsageError(f"{flags}: a job of several processes uses all of its {len(devices)} devices, not {count}")
    return jax.make_mesh(tuple(sizes.values()), AXES, axis_types=(AxisType.Auto,) * 3, devices=devices[:count])


def row_shards(mesh: Mesh) -> int:
    """Number of shards of the rows of a batch."""
    return _size(mesh, ROWS)


def replicated(mesh: Mesh) -> NamedSharding:
    """The sharding of an array that is whole on every device."""
    return NamedSharding(mesh, PartitionSpec())


def row_sharding(mesh: Mesh) -> NamedSharding:
    """The sharding of batches, and of arrays that have a row for each of their sentences: axis 0 over the devices."""
    return NamedSharding(mesh, PartitionSpec(ROWS))


def shardings_for(mesh: Mesh, tree: Any, rules: Rules) -> Any:
    """The sharding of each leaf of parameters, of an optimizer's state or of a training's state.

    Args:
        mesh: the devices.
        tree: arrays or their shapes.
        rules: of the model family, see `ModelConfig.sharding`.
    """
    return _shardings(mesh, tree, (*rules, *SHARED))


def cache_shardings_for(mesh: Mesh, tree: Any, rules: Rules) -> Any:
    """The sharding of each leaf of a search's state; `rules` as of `ModelConfig.cache_sharding`."""
    return _shardings(mesh, tree, (*rules, *SENTENCES))


def _shardings(mesh: Mesh, tree: Any, rules: Rules) -> Any:
    def sharding(path: Any, leaf: Any) -> NamedSharding:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        spec = next(spec for pattern, spec in rules if re.search(pattern, name))
        axes = [axis if axis and leaf.shape[n] % _size(mesh, axis) == 0 else None for n, axis in enumerate(spec)]
        return NamedSharding(mesh, PartitionSpec(*axes))

    return jax.tree_util.tree_map_with_path(sharding, tree)


def _size(mesh: Mesh, axes: str | tuple[str, ...]) -> int:
    return math.prod(mesh.shape[axis] for axis in ([axes] if isinstance(axes, str) else axes))


def padded_rows(mesh: Mesh, rows: int, pieces: int = 1) -> int:
    """Rows of a batch that divides over the mesh, and each shard into `pieces`; rows beyond `rows` are empty."""
    multiple = row_shards(mesh) * pieces
    return -(-rows // multiple) * multiple


def local_rows(mesh: Mesh, rows: int) -> np.ndarray:
    """The rows of a batch on this process' devices, ascending: those that this process reads."""
    places = row_sharding(mesh).addressable_devices_indices_map((rows,)).values()
    return np.unique(np.concatenate([np.arange(rows)[place] for place in places if place is not None]))


def put_batch(mesh: Mesh, batch: Any) -> Any:
    """Copies host arrays to devices, sharded by rows; each process passes the rows that `local_rows` returns."""
    own = local_rows(mesh, row_shards(mesh))

    def one(part: np.ndarray) -> jax.Array:
        each = len(part) // len(own)

        def share(place: Any) -> np.ndarray:
            first = int(np.searchsorted(own, (place[0].start or 0) // each)) * each
            return part[first : first + each]

        return jax.make_array_from_callback((each * row_shards(mesh), *part.shape[1:]), row_sharding(mesh), share)

    return jax.tree.map(lambda part: one(np.asarray(part)), batch)


def put_per_device(mesh: Mesh, own: np.ndarray) -> jax.Array:
    """[N, ...]: a row for each device, passed by its process."""
    sharding = NamedSharding(mesh, PartitionSpec(AXES))
    return jax.make_array_from_callback((mesh.size, *own.shape), sharding, lambda _: own[None])


def put(tree: Any, shardings: Any) -> Any:
    """Arrays that every process has, placed with these shardings. They are copies, which may be donated."""

    def one(leaf: Any, sharding: NamedSharding) -> jax.Array:
        whole = np.asarray(leaf)
        return jnp.copy(jax.make_array_from_callback(whole.shape, sharding, lambda place: whole[place]))

    return jax.tree.map(one, tree, shardings)


def local_mesh(mesh: Mesh) -> Mesh:
    """The devices of this process, all of them along `data`; the mesh itself in a single process."""
    if jax.process_count() == 1:
        return mesh
    return jax.make_mesh(
        (jax.local_device_count(), 1, 1), AXES, axis_types=(AxisType.Auto,) * 3, devices=jax.local_devices()
    )


def to_local_mesh(tree: Any, mesh: Mesh) -> Any:
    """Arrays of all processes as arrays of this process' `local_mesh`, whole on each of its devices."""
    if jax.process_count() == 1:
        return tree
    whole = jax.jit(lambda x: x, out_shardings=jax.tree.map(lambda leaf: replicated(leaf.sharding.mesh), tree))(tree)
    return jax.tree.map(lambda leaf: jax.device_put(leaf.addressable_data(0), replicated(mesh)), whole)


def sum_over_rows(
    mesh: Mesh, parameters: Any, rules: Rules, function: Callable[..., tuple[Any, Any]]
) -> Callable[..., tuple[Any, Any]]:
    """The function of a whole batch, computed by each device on its own rows and summed once at the end.

    By default XLA would sum as early as possible: at every step of a scan over time, and for every chunk of the loss.

    Parameters sharded over `fsdp` are gathered at the beginning, and the sums are scattered again, so that each device
    gets its own shard of them. The axis `model` is left to XLA.

    Args:
        mesh: the devices.
        parameters: the function's parameters, or their shapes.
        rules: of the model family, see `ModelConfig.sharding`.
        function: (parameters, batch, more) -> (gradients like parameters, other sums), both sums over the batch's rows.
    """
    specs = jax.tree.map(lambda own: _only(own.spec, ROWS), shardings_for(mesh, parameters, rules))

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
        sums: tuple[Any, Any] = each(parameters, batch, *more)
        return sums

    return over_rows


def _only(spec: PartitionSpec, axes: tuple[str, ...]) -> PartitionSpec:
    return PartitionSpec(*[name if name in axes else None for name in spec])
