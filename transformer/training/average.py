"""The average of the parameters of several checkpoints, kept as `average/` of a run."""

import logging
import shutil
from pathlib import Path
from typing import Any

import jax
from jax.sharding import Mesh

from transformer.distributed import processes as cluster
from transformer.distributed.sharding import shardings_for
from transformer.errors import TransformerError
from transformer.storage import checksums
from transformer.storage.files import DamagedFileError, write_json
from transformer.training.stored import first_line, read_arrays, read_note

log = logging.getLogger(__name__)


def average(trees: list[Any]) -> Any:
    """Element-wise mean of parameter trees (checkpoint averaging, Vaswani 2017, section 6.1)."""
    return jax.tree.map(lambda *leaves: sum(leaves[1:], leaves[0]) / len(leaves), *trees)


def save_average(folder: Path, parameters: Any, about: dict[str, Any]) -> None:
    """Averaged parameters and their steps, as `average/` of a run; an older average is replaced."""
    import orbax.checkpoint as ocp  # takes longer than a short translation, which only reads the average

    unfinished = folder.with_name(folder.name + ".new")
    if cluster.is_main_process():
        shutil.rmtree(unfinished, ignore_errors=True)
    cluster.barrier("room for the average")
    try:
        with ocp.StandardCheckpointer() as checkpointer:
            checkpointer.save((unfinished / "parameters").absolute(), parameters)
        if cluster.is_main_process():
            checksums.write(unfinished / "parameters", unfinished / "checksums.json")
            write_json(unfinished / "average.json", about)
            shutil.rmtree(folder, ignore_errors=True)
            unfinished.rename(folder)
    except (OSError, ValueError) as error:
        raise TransformerError(
            f"the average cannot be written to {folder} ({first_line(error)}); its checkpoints are untouched"
        ) from error
    cluster.barrier("average")


def about_average(folder: Path) -> dict[str, Any] | None:
    """The `about` that `save_average` wrote; None, reported in the log, if there is no readable average."""
    try:
        about = read_note(folder / "average.json")
        if about and "until" not in about:
            raise DamagedFileError(f"{folder / 'average.json'} is damaged: it has no `until`")
    except (DamagedFileError, OSError) as error:
        log.warning("the average cannot be used: %s", error)
        return None
    return about or None


def load_average(folder: Path, like: Any, mesh: Mesh) -> Any:
    """The parameters that `save_average` wrote. Raises TransformerError if they are damaged."""
    try:
        damage = checksums.find_damage(folder / "parameters", folder / "checksums.json")
        if damage is not None:
            raise TransformerError(f"the average {folder} is damaged ({damage}): --checkpoint best is another")
        return read_arrays(folder / "parameters", like, shardings_for(mesh, like, ()))
    except (OSError, ValueError) as error:
        raise TransformerError(f"the average {folder} cannot be read ({first_line(error)})") from error
