"""The memory that a search needs, compared with the available memory before anything is allocated."""

import math
import os
from typing import Any

import jax
from jax.sharding import Mesh

from transformer.errors import TransformerError
from transformer.plurals import counted

GIB = 2**30


def require(shapes: Any, mesh: Mesh, rows: int, hypotheses: int) -> None:
    """Refuse a state of a search that cannot fit into the memory of its devices.

    A state is held twice while it is resized. What the model computes in between is not counted, so a search that
    passes may still fail.

    Args:
        shapes: of the state's arrays.
        mesh: of the devices.
        rows: sentences searched at once.
        hypotheses: of each sentence.

    Raises TransformerError.
    """
    needed = 2 * sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(shapes))
    total = available(mesh)
    if needed > total:
        raise TransformerError(
            f"the search of {counted(rows, 'sentence')} with {counted(hypotheses, 'hypothesis')} each needs at least "
            f"{needed / GIB:,.1f} GiB of memory, and there are {total / GIB:,.1f}: lower --batch, --beam or --samples"
        )


def available(mesh: Mesh) -> int:
    """Bytes of the devices of this process. Devices without their own limit, such as a CPU, share the memory of
    the machine."""
    limits = [int((device.memory_stats() or {}).get("bytes_limit", 0)) for device in mesh.local_devices]
    if all(limits):
        return sum(limits)
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
