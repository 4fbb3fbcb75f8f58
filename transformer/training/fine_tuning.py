"""A run that is initialised with the parameters and tokenizers of another run (`--init-from`)."""

import logging
from pathlib import Path
from typing import Any

import jax
import numpy as np

from transformer.config import Config, flatten, read_about, read_config
from transformer.distributed import sharding as parallel
from transformer.distributed.config import Mesh
from transformer.errors import TransformerError, UsageError
from transformer.models.build import shapes
from transformer.storage.run import Run
from transformer.tasks.task import Prepared
from transformer.training.restore import restore

log = logging.getLogger(__name__)


def check_settings(settings: Config, origin: Path) -> None:
    """Refuse a run that cannot use the tokenizers and parameters of the other run. Raises UsageError with the flag to
    change."""
    before = read_config(origin)
    if before.data.filter.normalize != settings.data.filter.normalize:
        raise UsageError(
            f"--init-from={origin} has --data.filter.normalize={before.data.filter.normalize}, which its tokenizer "
            f"keeps: give the same, not {settings.data.filter.normalize}"
        )
    if before.tokenizer != settings.tokenizer:
        raise UsageError(
            f"--init-from={origin} has the tokenizer {before.tokenizer}, this recipe {settings.tokenizer}: "
            "parameters fit only their own tokenizer, so give the same --tokenizer settings"
        )
    there, here = before.data.languages, settings.data.languages
    if not settings.tokenizer.joint and here != there and (here[0] == there[1] or here[1] == there[0]):
        raise UsageError(
            f"--init-from={origin} translates {' to '.join(there)} with a vocabulary for each side, and this run "
            f"{' to '.join(here)}: it would read {here[0]} with the vocabulary of {there[0]}. Give --data.languages "
            f"{' '.join(there)}, or leave --init-from out"
        )
    steps = [path for path in Run(origin).checkpoints.glob("*") if path.name.isdecimal()]
    if not steps and not Run(origin).average.is_dir():
        raise UsageError(f"--init-from={origin} holds no checkpoint yet: train it first")


def check_shapes(prepared: Prepared, origin: Path) -> None:
    """Refuse a run whose parameters differ in shape from those of the other run. Raises UsageError."""
    before = read_config(origin)
    predictor = before.task.predictor(before, origin)
    wanted, found = (flatten(shapes(build)[1]) for build in (prepared.build_model, predictor.build_model))
    for name in sorted(wanted.keys() | found.keys()):
        here, there = [tree[name].shape if name in tree else "nothing" for tree in (wanted, found)]
        if here != there:
            raise UsageError(
                f"--init-from={origin}: {name} is {there} there and {here} in this recipe; give the same "
                "--model settings"
            )


def take_over(fresh: Any, origin: Path, settings: Config, identity: dict[str, str]) -> Any:
    """The initial parameters, on the host. The log names the run and the checkpoint.

    Args:
        fresh: parameters of the new run, whose shapes are the same.
        origin: the run that they are taken from.
        settings: of the new run.
        identity: of its tokenizers and data.

    Raises TransformerError if the checkpoint is damaged, or the other run's tokenizer has changed.
    """
    before = read_config(origin)
    if read_about(origin).get("identity", {}).get("tokenizer") != identity.get("tokenizer"):
        raise TransformerError(
            f"--init-from={origin} has a different tokenizer now from the one that this run was prepared with: give "
            "another --run to start from it as it is"
        )
    restored = restore(
        Run(origin), "auto", fresh, before.training, parallel.make_mesh(Mesh()), averages=before.optimizer.averages
    )
    log.info("starting from the parameters of %s: %s", origin, restored.describe())
    there, here = before.data.languages, settings.data.languages
    if here != there:
        log.warning(
            "%s translates %s, this run %s: the vocabularies are those of %s",
            *(origin, " to ".join(there), " to ".join(here), origin),
        )
    return jax.tree.map(np.asarray, restored.parameters)
