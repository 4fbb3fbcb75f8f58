"""Several processes as one job: joining it, work of the main process only, and data that all processes exchange.

Every process runs the same command on the same files. A single process is a job of size one.
"""

import json
import logging
import os
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from transformer.distributed import config
from transformer.errors import TransformerError, UsageError
from transformer.plurals import counted

log = logging.getLogger(__name__)

HEARTBEAT = 40
"""Seconds without a heartbeat after which a process counts as lost, and the others exit."""


def join(settings: config.Cluster) -> None:
    """Make this process part of its job. Called before JAX initialises its devices.

    The job is given by the flags; or by the environment of SLURM, Open MPI, Kubernetes or a TPU pod; or detected by JAX
    (`settings.find`). With the flags a process uses all devices of its host. Under SLURM and Open MPI JAX gives each
    process the GPU with its number on the host, unless JAX_LOCAL_DEVICE_IDS names others. If the other processes do not
    connect within `settings.timeout` seconds, JAX ends the process.

    Raises:
        UsageError: inconsistent flags.
        TransformerError: the job cannot be joined.
    """
    given = [settings.coordinator != "", settings.processes > 0, settings.process >= 0]
    if any(given) and not all(given):
        raise UsageError(
            "--cluster.coordinator (HOST:PORT of process 0), --cluster.processes and --cluster.process need each other"
        )
    if all(given) and settings.process >= settings.processes:
        raise UsageError(
            f"--cluster.process={settings.process} counts from 0, and --cluster.processes={settings.processes}"
        )
    if all(given) and not re.fullmatch(r".+:\d+", settings.coordinator):
        raise UsageError(f"--cluster.coordinator={settings.coordinator} has no port: give HOST:PORT")
    scheduler = _scheduler()
    if not any(given) and (settings.find == "none" or (settings.find == "known" and scheduler is None)):
        return
    log.info("waiting for the other processes of the job ...")
    try:
        jax.distributed.initialize(
            settings.coordinator or None,
            settings.processes or None,
            settings.process if settings.process >= 0 else None,
            cluster_detection_method="deactivate" if all(given) else None,
            initialization_timeout=settings.timeout,
            heartbeat_timeout_seconds=HEARTBEAT,
        )
    except (RuntimeError, ValueError) as error:
        found = "" if any(given) else f" of {scheduler or 'a cluster'}"
        raise TransformerError(
            f"the processes of the job{found} do not find each other ({str(error).splitlines()[0]}): give all of them "
            "--cluster.coordinator, --cluster.processes and --cluster.process"
        ) from error
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # JAX installs a handler that would ignore it
    if not is_main_process():
        logging.getLogger("transformer").setLevel(logging.ERROR)  # the main process logs for all
    log.info("%s, %s", counted(jax.process_count(), "process"), counted(jax.device_count(), "device"))
    if scheduler == "SLURM" and not any(given) and (unused := _unused_gpus()):
        log.warning(
            "each node has %s without a process, because JAX gives each process one GPU: start one process for each "
            "GPU with srun --ntasks-per-node, or name them in JAX_LOCAL_DEVICE_IDS",
            counted(unused, "GPU"),
        )


def _scheduler() -> str | None:
    """The scheduler that started several processes, detected from the environment; None for a single process."""

    if "SLURM_STEP_NODELIST" in os.environ and _number("SLURM_NTASKS") > 1:  # srun, not a shell within sbatch
        return "SLURM"
    if _number("OMPI_COMM_WORLD_SIZE") > 1:
        return "Open MPI"
    if "," in os.environ.get("TPU_WORKER_HOSTNAMES", ""):  # on GKE, too, where JAX prefers it to Kubernetes
        return "TPU pod"
    if "KUBERNETES_SERVICE_HOST" in os.environ and "JOB_COMPLETION_INDEX" in os.environ:
        return "Kubernetes"
    return None


def _unused_gpus() -> int:
    """GPUs of this SLURM node that no process of the step uses."""
    if "JAX_LOCAL_DEVICE_IDS" in os.environ:
        return 0
    tasks = _number("SLURM_STEP_NUM_TASKS") // max(_number("SLURM_STEP_NUM_NODES"), 1)
    return max(_number("SLURM_GPUS_ON_NODE") - tasks, 0) if tasks else 0


def _number(name: str) -> int:
    """An integer from the environment; 0 if it is not set."""
    value = os.environ.get(name, "")
    return int(value) if value.isdecimal() else 0


def is_distributed() -> bool:
    """Whether the job has several processes."""
    return jax.distributed.is_initialized() and jax.process_count() > 1


def require_same(own: dict[str, Any]) -> None:
    """Check that all processes have the same settings.

    Args:
        own: this process' settings, by flag without its dashes; any JSON values.

    Raises UsageError in all processes, naming a flag that differs.
    """
    first, *others = (json.loads(text) for (text,) in gather([json.dumps(own)]))
    for process, other in enumerate(others, 1):
        for name in first:
            if other.get(name) != first[name]:
                flag = name.replace("_", "-")
                raise UsageError(
                    f"--{flag} is {first[name]} in process 0 and {other.get(name)} in process {process}: all processes "
                    "of a job need the same value"
                )


def is_main_process() -> bool:
    """Whether this is the process that writes the job's files and output."""
    return jax.process_index() == 0


def barrier(where: str) -> None:
    """Wait until every process has called this with the same name `where`."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(where)


@contextmanager
def main_process_first() -> Iterator[None]:
    """The main process runs the body first, then the others, which can read the files that it has written.

    Raises TransformerError in the others if the main process fails.
    """
    if is_main_process():
        try:
            yield
        except BaseException:
            from_main_process("")
            raise
        from_main_process("done")
    else:
        if not from_main_process("done"):
            raise TransformerError("process 0 failed and reports why; this process ends too")
        yield


def from_main_process(text: str) -> str:
    """The text of the main process, in every process."""
    return gather([text])[0][0]


def gather(texts: list[str]) -> list[list[str]]:
    """The texts of every process, in every process."""
    if jax.process_count() == 1:
        return [texts]
    bytes_ = np.frombuffer("\0".join(texts).encode(), np.uint8)
    sizes = multihost_utils.process_allgather(np.array([len(bytes_), len(texts)]))
    padded = np.zeros(int(sizes[:, 0].max()), np.uint8)
    padded[: len(bytes_)] = bytes_
    every: Any = multihost_utils.process_allgather(padded)
    return [
        bytes(row[:size]).decode().split("\0") if count else []
        for row, (size, count) in zip(every, sizes.tolist(), strict=True)
    ]
