"""The checkpoints of a run for prediction: which exist, how good they are, and their parameters.

The arrays are read with tensorstore, with which orbax writes them. Importing orbax takes longer than a short
translation.
"""

import logging
import math
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tensorstore
from jax.sharding import Mesh

from transformer.distributed.sharding import Rules, shardings_for
from transformer.errors import TransformerError, UsageError
from transformer.storage import checksums
from transformer.storage.files import DamagedFileError, read_object
from transformer.training import config

log = logging.getLogger(__name__)


class StoredCheckpoints:
    """The checkpoints of a run, read only.

    `rules` are those of the model family, see `ModelConfig.sharding`.
    """

    def __init__(self, folder: Path, training: config.Training, rules: Rules = (), *, averages: bool = False):
        """`averages`: the optimizer has an average of its own. Raises TransformerError if there is a file instead of
        the folder."""
        if folder.exists() and not folder.is_dir():
            raise TransformerError(f"{folder} is a file, not a folder of checkpoints: move it away")
        self.folder, self.rules = folder, rules
        self._learned = "ema" if training.ema > 0 or averages else "parameters"
        """The item that translates."""
        self._qualities: dict[int, float | None] = {}
        """Known without reading them."""

    def parameters(self, step: int, like: Any, mesh: Mesh) -> Any:
        """The parameters of a checkpoint alone, averaged (`training.ema`) if the run has an average.

        Args:
            step: of the checkpoint.
            like: arrays of the same shapes, or the shapes alone.
            mesh: for the parameters.

        Raises:
            TransformerError: they are damaged or cannot be read.
        """
        checkpoint = self.folder / str(step)
        for part in ("_", f"{self._learned}/"):  # what names the items, and this one
            if damage := self._damage(step, part):
                raise TransformerError(f"the checkpoint {checkpoint} is damaged ({damage}); {self._others(step)}")
        try:
            return read_arrays(checkpoint / self._learned, like, shardings_for(mesh, like, self.rules))
        except Exception as error:  # tensorstore's, JAX's or the system's
            raise TransformerError(
                f"the checkpoint {checkpoint} cannot be read ({first_line(error)}); {self._others(step)}"
            ) from error

    def host(self, step: int) -> dict[str, Any]:
        """The host's state when a checkpoint was saved. Raises TransformerError if it cannot be read."""
        try:
            values = read_object(self.folder / str(step) / "host" / "metadata")
        except OSError as error:
            raise TransformerError(
                f"the checkpoint {self.folder / str(step)} cannot be read ({first_line(error)}); {self._others(step)}"
            ) from error
        return {name: value for name, value in values.items() if name != "quality"}

    def _damage(self, step: int, below: str = "") -> str | None:
        try:
            return checksums.find_damage(self.folder / str(step), self._checksums(step), below)
        except OSError as error:
            raise TransformerError(
                f"the checkpoint {self.folder / str(step)} cannot be read ({error.strerror}: {error.filename}); "
                "nothing was changed"
            ) from error

    def _sealed(self) -> list[int]:
        """The steps that have checksums."""
        return [step for step in self.steps() if self._checksums(step).exists()]

    def _checksums(self, step: int) -> Path:
        return self.folder / "checksums" / f"{step}.json"

    def _others(self, step: int) -> str:
        """Checkpoints to use instead, as text."""
        return "other checkpoints: " + (", ".join(str(other) for other in self.steps() if other != step) or "none")

    def steps(self) -> list[int]:
        """The steps kept, oldest first. (A folder gets its name when it is complete.)"""
        return sorted(int(path.name) for path in self.folder.glob("*") if path.name.isdecimal() and path.is_dir())

    def latest(self) -> int | None:
        """The newest step kept."""
        return max(self.steps(), default=None)

    def last_good(self) -> str:
        """The newest step kept, as text."""
        latest = self.latest()
        return "none yet" if latest is None else f"step {latest}"

    def ranked(self) -> list[int]:
        """The validated steps kept, best first; ties are broken in favour of the earlier."""
        return ranked({step: self.quality(step) for step in self.steps()})

    def quality(self, step: int) -> float | None:
        """How good a step is (higher is better); None if it was not validated, NaN if its record is damaged.

        Raises OSError if it cannot be read.
        """
        if step not in self._qualities:
            folder = self.folder / str(step)
            try:  # the second is that of earlier versions
                notes = [read_note(folder / "host" / "metadata"), read_note(folder / "metrics" / "metrics")]
                self._qualities[step] = next((float(n["quality"]) for n in notes if n.get("quality") is not None), None)
            except (DamagedFileError, ValueError, TypeError):
                log.warning("how good step %d is cannot be read: %s is damaged", step, folder)
                self._qualities[step] = math.nan
        return self._qualities[step]

    def choose(self, name: str) -> int:
        """A step by name: `best`, `last`, or its number. Raises UsageError with the names that exist."""
        steps = self.steps()
        if not steps:
            raise TransformerError(f"{self.folder} holds no checkpoint yet")
        if name == "last":
            return steps[-1]
        if name == "best":
            return (self.ranked() or steps[-1:])[0]
        if name in map(str, steps):
            return int(name)
        found = ", ".join(map(str, steps))
        raise UsageError(f"--checkpoint={name}: there are best, last and the steps {found}")


def read_arrays(folder: Path, like: Any, shardings: Any) -> Any:
    """A tree of arrays that orbax wrote to a separate folder.

    Args:
        folder: with the arrays in OCDBT, orbax's default.
        like: arrays of the same shapes, or the shapes alone.
        shardings: of each array; a process reads its own parts.

    Raises:
        ValueError: an array is missing, damaged or of a different shape.
    """
    context = tensorstore.Context()  # its cache is that of the files that all arrays are in
    base = {"driver": "ocdbt", "base": f"file://{folder.absolute()}"}

    def read(path: Any, leaf: Any, sharding: Any) -> jax.Array:
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        spec = {"driver": "zarr", "kvstore": {**base, "path": f"{name}/"}}
        array: Any = tensorstore.open(spec, read=True, context=context).result()
        if array.shape != leaf.shape:
            raise ValueError(f"{name} is {array.shape}, not {leaf.shape}")

        def part(place: Any) -> np.ndarray:
            return np.asarray(array[place].read().result(), leaf.dtype)

        return jax.make_array_from_callback(leaf.shape, sharding, part)

    return jax.tree_util.tree_map_with_path(read, like, shardings)


def ranked(qualities: dict[int, float | None]) -> list[int]:
    """The validated steps, best first; ties are broken in favour of the earlier."""
    known = {step: quality for step, quality in qualities.items() if quality is not None and not math.isnan(quality)}
    return sorted(known, key=lambda step: (-known[step], step))


def read_note(path: Path) -> dict[str, Any]:
    """The JSON object of a file; an empty one if there is no file. Raises DamagedFileError for anything else."""
    try:
        return read_object(path)
    except FileNotFoundError:
        return {}


def first_line(error: Exception) -> str:
    """The message of an error, on 1 line."""
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return (said.strip().splitlines() or [type(error).__name__])[0][:200]
