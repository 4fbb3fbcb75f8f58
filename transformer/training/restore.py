"""The parameters of a run directory, chosen by name."""

import logging
from typing import Any, NamedTuple

from jax.sharding import Mesh

from transformer.errors import UsageError
from transformer.storage.run import Run
from transformer.training import average
from transformer.training.config import Training
from transformer.training.stored import StoredCheckpoints

log = logging.getLogger(__name__)


class Restored(NamedTuple):
    """Parameters of a run, and where they come from."""

    name: str
    """`average`, or `step` and its number."""
    best: bool
    """Whether it is the step that was validated best."""
    parameters: Any

    def describe(self) -> str:
        """The name, and whether it is the best."""
        return f"{self.name}, the best validated" if self.best else self.name


def restore(run: Run, name: str, like: Any, training: Training, mesh: Mesh, *, averages: bool = False) -> Restored:
    """The checkpoint that `name` selects. The log says so if it is the last because none was validated.

    Args:
        run: the directory.
        name: `best` or `last`, a step's number, or `average`; `auto` is the average if the run ended with one,
            otherwise the best.
        like: parameters of the same shapes, or the shapes alone.
        training: settings of the run.
        mesh: for the parameters.
        averages: whether the optimizer has an average of its own, see `Optimizer.averages`.

    Raises:
        UsageError: there is no such checkpoint.
        TransformerError: it is damaged, or there is none yet.
    """
    about = average.about_average(run.average)
    checkpoints = StoredCheckpoints(run.checkpoints, training, averages=averages)
    # An average made before the run was resumed is kept, but is no longer the first choice.
    if name == "average" or (name == "auto" and about is not None and about["until"] == checkpoints.latest()):
        if about is None:
            raise UsageError(f"--checkpoint=average: {run.folder} has none (--training.average makes one)")
        return Restored("average", False, average.load_average(run.average, like, mesh))
    step = checkpoints.choose("best" if name == "auto" else name)
    latest, ranked = checkpoints.latest(), checkpoints.ranked()
    if name in ("auto", "best") and not ranked and step > 0:  # that of step 0 was imported
        log.warning("%s has no validated checkpoint: using the last, step %d", run.folder, step)
    elif name == "auto" and latest is not None and latest != step and latest not in ranked:
        log.warning("using step %d, the best validated; step %d is newer: --checkpoint last", step, latest)
    return Restored(f"step {step}", ranked[:1] == [step], checkpoints.parameters(step, like, mesh))
