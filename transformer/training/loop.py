"""Training: the loop around the update, read from top to bottom. It knows neither the task nor the model."""

import logging
import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from transformer.config import Config
from transformer.data.batching import epochs
from transformer.data.batching.buckets import Bucket
from transformer.data.batching.epochs import DataPosition, EpochSource
from transformer.distributed import processes as cluster
from transformer.distributed import sharding as parallel
from transformer.distributed.peaks import peak
from transformer.errors import InterruptedRunError, LostProcessError, TransformerError
from transformer.evaluation.measures import written
from transformer.plurals import counted
from transformer.storage.run import Run
from transformer.tasks.task import Prepared
from transformer.training import average, optimizer, step
from transformer.training.checkpoint import Checkpoints
from transformer.training.config import Training
from transformer.training.logger import MetricLogger, NoLogger, line
from transformer.training.metrics import MetricAverager, NonFiniteLossError
from transformer.training.profiler import Trace, compilations
from transformer.training.signals import StopProtocol, stop_requests

log = logging.getLogger(__name__)

Validate = Callable[[Any], dict[str, float]]
"""From parameters to the measures of the validation set."""


@dataclass
class LoopState:
    """The host's state in addition to the arrays; a checkpoint stores it as JSON."""

    minutes: float = 0.0
    """Training time so far, all sessions together."""
    best: float | None = None
    """Best validation quality so far (higher is better)."""
    validations_without_improvement: int = 0
    """Validations since the best one."""
    position: DataPosition = epochs.START
    """Position of the next batch."""

    def to_json(self) -> dict[str, Any]:
        """The form that a checkpoint stores."""
        epoch, batch = self.position
        bad = self.validations_without_improvement
        return {"minutes": self.minutes, "best": self.best, "bad": bad, "epoch": epoch, "position": batch}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "LoopState":
        """The inverse of `to_json`."""
        return cls(values["minutes"], values["best"], values["bad"], DataPosition(values["epoch"], values["position"]))

    def update_best(self, quality: float) -> None:
        """Take a validation into account."""
        better = self.best is None or quality > self.best
        self.best = quality if better else self.best
        self.validations_without_improvement = 0 if better else self.validations_without_improvement + 1

    def finished(self, training: Training, updates: int, late: bool, metric: str) -> str | None:
        """Why training is over, or None."""
        if updates >= training.steps:
            return counted(updates, "update")
        if late:
            return f"{self.minutes:.1f} minutes of training"
        if 0 < training.patience <= self.validations_without_improvement:
            return f"{counted(self.validations_without_improvement, 'validation')} without a better {metric}"
        return None


def train(
    settings: Config,
    run: Run,
    graph: Any,
    parameters: Any,
    task: Prepared,
    validate: Validate,
    mesh: Mesh,
    *,
    profile: bool = False,
    fine_tunes: bool = False,
) -> None:
    """Train from `parameters`, or resume from the run's newest good checkpoint.

    With `profile` a trace of some updates is written into the run, for TensorBoard. `fine_tunes`: the parameters are
    those of a trained model.

    Raises:
        TransformerError: the loss is not finite, a checkpoint cannot be written, the data changed, memory is full.
        InterruptedRunError: Ctrl-C or SIGTERM; the state was saved.
    """
    training = settings.training
    rate = optimizer.schedule(settings.schedule, getattr(settings.model, "width", 1), training.steps)
    update_rule = optimizer.optimizer(settings.optimizer, rate)
    checkpoints = Checkpoints(run.checkpoints, training, settings.model.sharding())
    with (
        _explained(task.epochs, checkpoints),
        compilations() as compiled,
        stop_requests() as request,
        ExitStack() as opened,
    ):
        averages = training.ema > 0 or settings.optimizer.averages
        state, host = _begin(checkpoints, parameters, update_rule, mesh, ema=averages)
        updates = int(state["step"])
        if updates == 0 and run.metrics.is_file():
            log.warning("%s has a log and no checkpoint: training begins again, and so does the log", run.folder)
        started = time.perf_counter()
        began, validating = started - 60 * host.minutes, 0.0
        update = step.make_step(graph, task, update_rule, settings, mesh)
        programs = step.compile_ahead(update, state, _empty_batches(task, mesh, training.accumulate), mesh)
        shapes = counted(len(programs), "batch shape")
        log.info("the update compiled for %s in %.0f s", shapes, time.perf_counter() - started)
        stop = StopProtocol(training, request, mesh, host.minutes)
        averager = MetricAverager(task.unit, mesh.size, peak(jax.devices()[0].device_kind))
        per_epoch = len(task.epochs.epoch(0)[1])
        own_share = len(parallel.local_rows(mesh, parallel.row_shards(mesh))) / parallel.row_shards(mesh)
        stream = _stream(task, host.position, mesh, training.accumulate)
        opened.callback(stream.close)
        logger = (
            MetricLogger(run, updates, training.steps, task.unit, task.metric)
            if cluster.is_main_process()
            else NoLogger()
        )
        opened.callback(logger.close)
        trace = Trace(run.profile if profile else None, updates)
        opened.callback(trace.close)

        def finished() -> str | None:
            return host.finished(training, updates, stop.agreed.late, written(task.metric))

        while not finished():
            asked = time.perf_counter()
            position, bucket, read = next(stream)
            waited = time.perf_counter() - asked
            state, metrics = programs[bucket](state, parallel.put_batch(mesh, read), stop.flags)
            updates += 1
            host.position = position.next
            averager.add(position, metrics, waited, task.operations(read) / own_share / mesh.size)
            trace.after(updates)
            logger.bar.update()
            host.minutes = (time.perf_counter() - began) / 60
            agreed = stop.update(host.minutes, averager.flags)

            if updates % training.log_every == 0:
                values = averager.close() | {"lr": float(rate(updates - 1)), "minutes": host.minutes}
                through = min(1.0, host.position.batch / per_epoch)  # other epochs may differ a little
                logger.write("train", updates, values | {"epoch": host.position.epoch + through})
                checkpoints.settle(wait=False)

            validates = updates % training.validate_every == 0 or finished()
            if validates or agreed.stop or agreed.save:
                averager.settle()  # non-finite values are never saved
                paused, quality = time.perf_counter(), None
                if validates:
                    measures = validate(step.eval_params(state))
                    validating += time.perf_counter() - paused
                    if not math.isfinite(measures["loss"]):
                        raise NonFiniteLossError(position, {"loss": measures["loss"], "grad_norm": math.nan})
                    quality = task.quality(measures)
                    host.update_best(quality)
                    logger.write("validation", updates, measures | {"compilations": len(compiled)})
                checkpoints.save(state, host.to_json(), quality)
                stop.saved(host.minutes)
                averager.saved()
                averager.pause(time.perf_counter() - paused)
                logger.pause(time.perf_counter() - paused)
            if agreed.stop and not finished():
                raise InterruptedRunError(
                    f"stopped and saved at step {updates}; resume with: transformer train {run.folder} --resume"
                )
        logger.bar.close()
        if updates < settings.schedule.warmup:
            rates = float(rate(updates - 1)), float(rate(settings.schedule.warmup - 1))
            reached = "the learning rate reached {:.1e} of {:.1e}".format(*rates)
            log.warning(
                "stopped at %d of --schedule.warmup=%d updates: %s; train longer, or lower the warm-up",
                updates,
                settings.schedule.warmup,
                reached if fine_tunes else "the model has hardly learned",
            )
        log.info(
            "trained: %s; %.1f minutes in all; %.0f%% of this session validating; %s compiled",
            finished(),
            host.minutes,
            100 * validating / (time.perf_counter() - started),
            counted(len(compiled), "program"),
        )
        if training.average != "none":
            _average(training, run, checkpoints, state["parameters"], validate, mesh)


def _begin(
    checkpoints: Checkpoints, parameters: Any, update_rule: Any, mesh: Mesh, *, ema: bool
) -> tuple[step.State, LoopState]:
    """The state of the newest good checkpoint, or a fresh one."""
    found = checkpoints.resume(step.shapes(parameters, update_rule, ema=ema), mesh)
    if found is not None:
        state, step_number = found[0], int(found[0]["step"])
        try:
            host = LoopState.from_json(found[1])
        except (KeyError, TypeError) as error:
            raise TransformerError(
                f"the checkpoint {checkpoints.folder / str(step_number)} is damaged: `host` has no valid {error}; move "
                "it away to resume from the one before"
            ) from error
        log.info("resuming from step %d", step_number)
    else:
        state, host = step.init_state(parameters, update_rule, mesh, checkpoints.rules, ema=ema), LoopState()
    count = sum(leaf.size for leaf in jax.tree.leaves(state["parameters"]))
    log.info("model: %s; %s", counted(count, "parameter"), counted(mesh.size, "device"))
    return state, host


def _empty_batches(task: Prepared, mesh: Mesh, pieces: int) -> dict[Bucket, Any]:
    """A batch of each shape. If the rows do not divide over the mesh, rows of weight zero are added."""
    examples, _ = task.epochs.epoch(0)
    nothing = np.zeros(0, np.int64)
    return {
        bucket: task.batch(
            examples, bucket, nothing, epoch=0, rows=np.arange(parallel.padded_rows(mesh, bucket.rows, pieces))
        )
        for bucket in task.epochs.buckets
    }


def _stream(task: Prepared, start: DataPosition, mesh: Mesh, pieces: int) -> Any:
    """The batches of all epochs; for each, the rows on this process' devices."""

    def make(examples: Any, bucket: Any, ids: Any, epoch: int) -> Any:
        rows = parallel.local_rows(mesh, parallel.padded_rows(mesh, bucket.rows, pieces))
        return task.batch(examples, bucket, ids, epoch=epoch, rows=rows)

    return epochs.stream(task.epochs, make, start)


@contextmanager
def _explained(source: EpochSource, checkpoints: Checkpoints) -> Iterator[None]:
    """Turns failures of training into errors that a user can act on. Pending checkpoints are completed."""
    try:
        yield
    except NonFiniteLossError as error:
        with suppress(TransformerError):
            checkpoints.settle()
        ids = epochs.examples_at(source, error.position)
        raise TransformerError(
            f"the loss is not finite at {error}, training pairs "
            f"{', '.join(map(str, ids[:3]))}, ... ({len(ids)}, counted without those left out). The last good "
            f"checkpoint is {checkpoints.last_good()}; try a lower --schedule.peak, a longer --schedule.warmup or "
            "--optimizer.clip=1"
        ) from error
    except jax.errors.JaxRuntimeError as error:
        what, last = str(error).splitlines()[0][:200], checkpoints.last_good()
        if "RESOURCE_EXHAUSTED" in what:
            raise TransformerError(
                f"the memory of the devices is full ({what}): raise --training.accumulate, give --training.remat, or "
                "keep a part of the parameters on each device with --mesh.fsdp, which a resumed run may change; or "
                f"lower --batching.tokens in a new run. The last good checkpoint is {last}"
            ) from error
        if jax.process_count() == 1:
            raise
        raise LostProcessError(
            f"another process of the job ended or cannot be reached ({what}). The last good checkpoint is {last}: "
            "start all of them again with --resume"
        ) from error
    finally:
        if not isinstance(sys.exception(), LostProcessError):  # the others cannot be waited for
            checkpoints.close()


def _average(training: Training, run: Run, checkpoints: Checkpoints, like: Any, validate: Validate, mesh: Mesh) -> None:
    """Average the kept checkpoints and validate the average."""
    checkpoints.settle()
    if training.average == "last":
        steps = sorted(checkpoints.ranked())[-training.keep_last :]
    else:
        steps = checkpoints.ranked()[: training.keep_best]
    mean = average.average([checkpoints.parameters(step, like, mesh) for step in steps])
    measures = validate(mean)
    average.save_average(run.average, mean, {"steps": steps, "until": checkpoints.latest(), "validation": measures})
    log.info("average of steps %s: %s", ", ".join(map(str, steps)), line(measures))
