"""Tensors of safetensors files: a header of names, types and shapes, and plain bytes. Nothing is executed.

A tensor is read when it is asked for, after its shape was compared with the expected one, so that a file cannot make
the program hold more than the model that its config.json describes.
"""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import numpy as np
import safetensors
from safetensors.numpy import save_file

from transformer.errors import TransformerError
from transformer.storage.files import DamagedFileError, read_object

WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"
TYPES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
"""Types that are read, with their bytes."""
LARGEST_JSON = 1 << 28
"""Bytes of a JSON file that is read."""
CONVERT = (
    'python -c "import sys; from transformers import AutoModelForSeq2SeqLM as M; '
    'M.from_pretrained(sys.argv[1]).save_pretrained(sys.argv[2])" {folder} NEW'
)


class Tensors:
    """The tensors of a folder, in one file or in several that an index names. A context manager."""

    def __init__(self, folder: Path):
        """Raises TransformerError where there is no such file, or it is damaged."""
        self._files = {}
        self._of: dict[str, str] = {}
        """The file of each tensor."""
        self.read_names: set[str] = set()
        """Tensors that were read."""
        self.folder = folder
        for name in _files(folder):
            file = self._files[name] = _open(folder / name)
            self._of |= dict.fromkeys(file.keys(), name)

    def __enter__(self) -> "Tensors":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._files.clear()

    @property
    def names(self) -> set[str]:
        return set(self._of)

    def read(self, names: tuple[str, ...], shape: tuple[int, ...]) -> np.ndarray:
        """The first of these tensors that exists, in float32.

        Raises TransformerError where there is none, or it has another shape or type.
        """
        name = next((name for name in names if name in self._of), None)
        if name is None:
            raise TransformerError(f"{self.folder} has no tensor {names[0]}, which its config.json asks for")
        file = self._files[self._of[name]]
        part = file.get_slice(name)
        found, kind = tuple(part.get_shape()), part.get_dtype()
        if found != shape:
            raise TransformerError(f"{self.folder}: {name} is {list(found)}, and config.json asks for {list(shape)}")
        if kind not in TYPES:
            raise TransformerError(f"{self.folder}: {name} has the type {kind}; {', '.join(TYPES)} are read")
        self.read_names.add(name)
        values: np.ndarray = file.get_tensor(name).astype(np.float32)
        if not np.isfinite(values).all():
            raise TransformerError(f"{self.folder}: {name} has numbers that are not finite")
        return values


def write_tensors(path: Path, tensors: Mapping[str, np.ndarray]) -> None:
    """Write one file, in float32."""
    save_file({name: np.ascontiguousarray(value) for name, value in tensors.items()}, path, {"format": "pt"})


def read_json(path: Path) -> dict[str, object]:
    """A JSON object of a folder that may hold anything. Raises TransformerError."""
    try:
        if not path.is_file():
            raise TransformerError(f"{path.parent} has no file {path.name}")
        if (size := path.stat().st_size) > LARGEST_JSON:
            raise TransformerError(f"{path} has {size:,} bytes, which is too large for a description of a model")
        return read_object(path)
    except OSError as error:
        raise TransformerError(f"{path} cannot be read ({error.strerror})") from error


def _files(folder: Path) -> list[str]:
    """The files that hold the tensors."""
    if (folder / WHOLE).is_file():
        return [WHOLE]
    if (folder / INDEX).is_file():
        of = read_json(folder / INDEX).get("weight_map")
        if not isinstance(of, dict) or not of or not all(isinstance(name, str) for name in of.values()):
            raise DamagedFileError(f"{folder / INDEX} is damaged: it has no `weight_map` of names of files")
        for name in of.values():
            if Path(name).name != name or not name.endswith(".safetensors"):
                raise TransformerError(f"{folder / INDEX} names {name!r}, which is no safetensors file of this folder")
        return sorted(set(of.values()))
    pickles = sorted(path.name for path in folder.glob("*.bin"))
    if pickles:
        raise TransformerError(
            f"{folder / pickles[0]} is a pickle, which can execute anything when it is read: if you trust it, convert "
            f"it with {CONVERT.format(folder=folder)}"
        )
    raise TransformerError(f"{folder} has no {WHOLE}")


def _open(path: Path) -> safetensors.safe_open:
    try:
        return safetensors.safe_open(path, "np")
    except (safetensors.SafetensorError, OSError) as error:
        raise TransformerError(f"{path} cannot be read as safetensors ({error})") from None
