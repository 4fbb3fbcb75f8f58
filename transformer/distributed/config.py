"""Settings of processes and devices."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Cluster:
    """Processes that work on one job, each with the same command. Of the process, not of the recipe."""

    coordinator: str = ""
    """HOST:PORT that process 0 listens at; not needed under SLURM, Open MPI, Kubernetes or on TPU pods."""
    processes: int = 0
    """How many there are."""
    process: int = -1
    """Which this one is, from 0."""
    find: Literal["known", "any", "none"] = "known"
    """Whose job it may be: one of those; any that JAX finds, such as TPU hosts that know each other by their metadata;
    or none: this process is alone, whatever started it."""


@dataclass(frozen=True)
class Mesh:
    """How devices are laid out; -1 is all that are left."""

    data: int = -1
    """Devices that share each batch's rows between them, and have all parameters."""
    fsdp: int = 1
    """Devices that share each batch's rows, and keep only a part of the parameters and of the optimizer each."""
    model: int = 1
    """Devices that share each row: its heads, its feed-forward units, the vocabulary."""
