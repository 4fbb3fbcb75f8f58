"""The parameters of a run directory, chosen by name."""

import logging
from typing import Any

from jax.sharding import Mesh

from transformer.errors import UsageError
from transformer.storage.run import Run
from transformer.training import average
from transformer.training.checkpoint import Checkpoints
from transformer.training.config import Training

log = logging.getLogger(__name__)


def restore(run: Run, name: str, like: Any, training: Training, mesh: Mesh) -> tuple[str, Any]:
    """The name of the checkpoint that `name` chose, and its parameters.

    Args:
        run: the directory.
        name: `best` or `last`, a step's number, or `average`; `auto` is the average where the run ended with one, and
            otherwise the best.
        like: parameters of the same shapes.
        training: settings of the run.
        mesh: where the parameters are to live.

    Raises:
        UsageError: there is no such checkpoint.
        TransformerError: it is damaged, or there is none yet.
    """
    about = average.about_average(run.average)
    checkpoints = Checkpoints(run.checkpoints, training, read_only=True)
    try:
        # An average made before the run was resumed is kept, but is no longer the first choice.
        if name == "average" or (name == "auto" and about is not None and about["until"] == checkpoints.latest()):
            if about is None:
                raise UsageError(f"--checkpoint=average: {run.folder} has none (--training.average makes one)")
            return "average", average.load_average(run.average, like, mesh)
        step = checkpoints.choose("best" if name == "auto" else name)
        latest = checkpoints.latest()
        if name == "auto" and latest is not None and latest != step and latest not in checkpoints.ranked():
            log.warning("using step %d, the best validated; step %d is newer: --checkpoint last", step, latest)
        return f"step {step}", checkpoints.parameters(step, like, mesh)
    finally:
        checkpoints.close()
