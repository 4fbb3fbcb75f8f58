"""A run directory of a model that was trained elsewhere."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from transformer.config import Config, flatten
from transformer.data.tokenizers.files import fingerprint, save_tokenizers
from transformer.data.tokenizers.tokenizer import Tokenizers
from transformer.errors import TransformerError
from transformer.models.build import create, shapes
from transformer.models.config import SequenceToSequence
from transformer.storage.files import complete
from transformer.storage.run import Run
from transformer.training import run_directory
from transformer.training.checkpoint import Checkpoints


def write(
    folder: Path, settings: Config, tokenizers: Tokenizers, parameters: Mapping[str, np.ndarray], origin: Path
) -> None:
    """Write a run whose only checkpoint, of step 0, holds these parameters.

    Args:
        folder: of the run, which does not exist yet.
        settings: of the run.
        tokenizers: of the run.
        parameters: by their dotted names.
        origin: where the model comes from, for the record.

    Raises TransformerError where the parameters do not fit the settings, or the folder cannot be written.
    """
    tree = nested(settings, tokenizers, parameters)
    try:
        with complete(folder) as unfinished:
            run = Run(unfinished)
            save_tokenizers(tokenizers, run.tokenizer)
            checkpoints = Checkpoints(run.checkpoints, settings.training)
            nothing = {"none": jnp.int32(0)}
            checkpoints.save({"step": jnp.int32(0), "parameters": tree, "optimizer": nothing}, {}, None)
            checkpoints.close()
            identity = {"tokenizer": fingerprint(tokenizers)}
            about = {"recipe": folder.name, "init_from": None, "identity": identity, "imported": str(origin.absolute())}
            run_directory.save(run, settings, about)
    except OSError as error:
        raise TransformerError(f"the run directory {folder} cannot be written ({error.strerror})") from error


def nested(settings: Config, tokenizers: Tokenizers, parameters: Mapping[str, np.ndarray]) -> Any:
    """The tree of parameters of the model, whose shapes are checked. Raises TransformerError."""
    model = settings.model
    assert isinstance(model, SequenceToSequence)
    sizes = tokenizers.source.size, tokenizers.target.size
    _, like = shapes(lambda: create(model, *sizes, settings.seed))
    wanted, found = ({name: tuple(leaf.shape) for name, leaf in tree.items()} for tree in (flatten(like), parameters))
    if wanted != found:
        name = next(name for name in sorted(wanted | found) if wanted.get(name) != found.get(name))
        raise TransformerError(f"{name} is {found.get(name)} there, and the settings ask for {wanted.get(name)}")

    def fill(tree: Any, prefix: str) -> Any:
        if isinstance(tree, dict):
            return {name: fill(part, f"{prefix}{name}.") for name, part in tree.items()}
        return jnp.asarray(parameters[prefix.rstrip(".")])

    return fill(like, "")
