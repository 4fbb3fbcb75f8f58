"""Settings of processes and devices."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge


@dataclass(frozen=True)
class Cluster:
    """Processes of one job, each with the same command. Settings of the process, not of the recipe."""

    coordinator: str = ""
    """Address, HOST:PORT, on which process 0 listens; not needed under SLURM, Open MPI, Kubernetes or on TPU pods."""
    processes: int = 0
    """Number of processes."""
    process: int = -1
    """Index of this process, from 0."""
    timeout: Annotated[int, Ge(1)] = 100
    """Seconds to wait for the other processes at the start; more for many hosts, or for those that start late."""
    find: Literal["known", "any", "none"] = "known"
    """How the job is detected without the flags. known: from the environment of one of those schedulers. any: also by
    JAX, for example from the metadata of TPU hosts. none: this is a single process, even under a scheduler."""


@dataclass(frozen=True)
class Mesh:
    """The axes of the mesh of devices; -1: all remaining devices."""

    data: int = -1
    """Devices that share the rows of each batch, each with all parameters."""
    fsdp: int = 1
    """Devices that share the rows of each batch, each with a shard of the parameters and of the optimizer."""
    model: int = 1
    """Devices that share each row: its heads, feed-forward units and vocabulary (tensor parallelism)."""
