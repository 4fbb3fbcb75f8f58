"""Training: the loop around the update, read from top to bottom."""

import logging
import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from transformer import config
from transformer.data.batching import epochs as supply
from transformer.data.batching.buckets import Bucket
from transformer.data.batching.epochs import Place, Supply
from transformer.distributed import processes as cluster
from transformer.distributed import sharding as parallel
from transformer.errors import InterruptedRunError, LostProcessError, TransformerError
from transformer.tasks.translation.prepare import Prepared
from transformer.training import checkpoint, flops
from transformer.training import logger as logbook
from transformer.training import optimizer as optim
from transformer.training import step as update
from transformer.training.checkpoint import Checkpoints
from transformer.training.logger import Logbook, NoLogbook
from transformer.training.metrics import Meter, NonFiniteLossError, Wishes
from transformer.training.run_directory import Run
from transformer.training.signals import Trace, compilations, stop_requests

log = logging.getLogger(__name__)


@dataclass
class Host:
    """What the host knows beside the state; a checkpoint keeps it as JSON."""

    minutes: float = 0.0
    """Training time so far, all sittings together."""
    best: float | None = None
    """Best quality so far (higher is better): validation BLEU, or minus the loss."""
    bad: int = 0
    """Validations since then."""
    epoch: int = 0
    """Where the stream of batches is, with ..."""
    position: int = 0
    """... the batches of this epoch that were used."""

    def judge(self, quality: float) -> None:
        """Take a validation into account."""
        better = self.best is None or quality > self.best
        self.best, self.bad = (quality, 0) if better else (self.best, self.bad + 1)

    def wishes(self, training: config.Training, stop: bool, saved: float) -> Wishes:
        """What this process wishes; `saved`: the minutes when the last checkpoint was begun."""
        late = 0 < training.minutes <= self.minutes
        return Wishes(stop, late, 0 < training.save_minutes <= self.minutes - saved)

    def done(self, training: config.Training, step: int, late: bool) -> str | None:
        """Why training is over, or None."""
        if step >= training.steps:
            return f"{step} updates"
        if late:
            return f"{self.minutes:.1f} minutes of training"
        if 0 < training.patience <= self.bad:
            return f"{self.bad} validations without a better result"
        return None


def train(
    settings: config.Config,
    run: Run,
    graph: Any,
    parameters: Any,
    prepared: Prepared,
    validate: Callable[[Any], dict[str, float]],
    mesh: Mesh,
    *,
    profile: bool = False,
) -> None:
    """Train from `parameters`, or go on from the run's newest good checkpoint.

    With `profile` a trace of some updates is written into the run, for TensorBoard.

    Raises:
        TransformerError: the loss is not finite, a checkpoint cannot be written, the data changed, memory is full.
        InterruptedRunError: Ctrl-C or SIGTERM; the state was saved.
    """
    training, plan = settings.training, prepared.plan
    rate = optim.schedule(settings.schedule, settings.model.width, training.steps)
    optimizer = optim.optimizer(settings.optimizer, rate)
    checkpoints = Checkpoints(run.checkpoints, training)
    with _explained(prepared.supply, checkpoints), compilations() as compiled, stop_requests() as stop:
        ema = training.ema > 0
        if (found := checkpoints.resume(update.shapes(parameters, optimizer, ema=ema), mesh)) is not None:
            state, host = found[0], Host(**found[1])
            log.info("going on from step %d", int(state["step"]))
        else:
            state, host = update.begin(parameters, optimizer, mesh, ema=ema), Host()
        step = int(state["step"])
        count = sum(leaf.size for leaf in jax.tree.leaves(state["parameters"]))
        log.info("model: %s parameters; %d device(s)", f"{count:,}", mesh.size)

        started = time.perf_counter()
        began, saved, validating = started - 60 * host.minutes, host.minutes, 0.0
        programs = update.compile_ahead(
            update.make_step(graph, optimizer, settings, mesh),
            state,
            prepared.supply.buckets,
            mesh,
            training.accumulate,
            aligned=prepared.examples.links is not None,
        )
        log.info("the update compiled for %d shapes of batches in %.0f s", len(programs), time.perf_counter() - started)
        own = agreed = host.wishes(training, bool(stop), saved)
        wished = update.wishes(mesh, own)
        trace = Trace(run.profile, step) if profile else None
        meter = Meter(mesh.size, flops.peak(jax.devices()[0].device_kind))
        share = len(parallel.local_rows(mesh, parallel.row_shards(mesh))) / parallel.row_shards(mesh)

        def rows(wanted: int) -> np.ndarray:
            return parallel.local_rows(mesh, parallel.padded_rows(mesh, wanted, training.accumulate))

        stream = supply.stream(prepared.supply, Place(host.epoch, host.position), own=rows)
        book = Logbook(run, step, training.steps) if cluster.is_main_process() else NoLogbook()
        try:
            while not host.done(training, step, agreed.late):
                asked = time.perf_counter()
                place, read = next(stream)
                waited = time.perf_counter() - asked
                batch = parallel.put_batch(mesh, read)
                state, metrics = programs[Bucket.of(batch)](state, batch, wished)
                step += 1
                host.epoch, host.position = supply.after(place)
                useful = flops.useful_flops(settings, read, prepared.tokenizers.target.size)
                meter.add(place, metrics, waited, useful / share / mesh.size)
                if trace is not None:
                    trace.after(step)
                book.bar.update()
                host.minutes = (time.perf_counter() - began) / 60
                if own != (own := host.wishes(training, bool(stop), saved)):
                    wished = update.wishes(mesh, own)
                # Alone a process does at once what it wishes; together they do what all of them have heard.
                agreed = own if jax.process_count() == 1 else meter.wishes
                done = host.done(training, step, agreed.late)

                if step % training.log_every == 0:
                    values = meter.close() | {"lr": float(rate(step - 1)), "minutes": host.minutes}
                    through = min(1.0, host.position / plan.batches_per_epoch)  # drawn epochs differ a little
                    book.write("train", step, values | {"epoch": host.epoch + through})
                    checkpoints.settle(wait=False)

                validates = step % training.validate_every == 0 or done
                if validates or agreed.stop or agreed.save:
                    meter.settle()  # nothing that is not finite is ever saved
                    paused, quality = time.perf_counter(), None
                    if validates:
                        validation = validate(update.learned(state))
                        validating += time.perf_counter() - paused
                        if not math.isfinite(validation["loss"]):
                            raise NonFiniteLossError(place, {"loss": validation["loss"], "grad_norm": math.nan})
                        quality = validation["bleu"] if settings.task.metric == "bleu" else -validation["loss"]
                        host.judge(quality)
                        book.write("validation", step, validation | {"compilations": len(compiled)})
                    checkpoints.save(state, vars(host), quality)
                    saved = host.minutes
                    own = host.wishes(training, bool(stop), saved)
                    wished = update.wishes(mesh, own)
                    meter.saved()
                    meter.pause(time.perf_counter() - paused)
                if agreed.stop and not host.done(training, step, agreed.late):
                    raise InterruptedRunError(
                        f"stopped and saved at step {step}; go on with: transformer train {run.folder} --resume"
                    )
            book.bar.close()
            if step < settings.schedule.warmup:
                log.warning(
                    "stopped at %d of --schedule.warmup=%d updates: the model has hardly learned; train longer, or "
                    "lower the warm-up",
                    step,
                    settings.schedule.warmup,
                )
            log.info(
                "trained: %s; %.1f minutes in all; %.0f%% of this sitting validating; %d programs compiled",
                host.done(training, step, agreed.late),
                host.minutes,
                100 * validating / (time.perf_counter() - started),
                len(compiled),
            )
            if training.average != "none":
                _average(training, run, checkpoints, state["parameters"], validate, mesh)
        finally:
            stream.close()
            book.close()
            if trace is not None:
                trace.close()


@contextmanager
def _explained(given: Supply, checkpoints: Checkpoints) -> Iterator[None]:
    """What can go wrong in training, as errors that a person can act on. Checkpoints that were begun are finished."""
    try:
        yield
    except NonFiniteLossError as error:
        with suppress(TransformerError):
            checkpoints.settle()
        ids = supply.pairs_of(given, error.place)
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
                f"the memory of the devices is full ({what}): raise --training.accumulate, give --training.remat, "
                "lower --batching.tokens, or keep a part of the parameters on each device with --mesh.fsdp. The last "
                f"good checkpoint is {last}"
            ) from error
        if jax.process_count() == 1:
            raise
        raise LostProcessError(
            f"another process of the job ended or cannot be reached ({what}). The last good checkpoint is {last}: "
            "start all of them again with --resume"
        ) from error
    finally:
        if not isinstance(sys.exception(), LostProcessError):  # there the others would be waited for
            checkpoints.close()


def _average(
    training: config.Training,
    run: Run,
    checkpoints: Checkpoints,
    like: Any,
    validate: Callable[[Any], dict[str, float]],
    mesh: Mesh,
) -> None:
    """Average the kept checkpoints and validate the average."""
    checkpoints.settle()
    if training.average == "last":
        steps = sorted(checkpoints.ranked())[-training.keep_last :]
    else:
        steps = checkpoints.ranked()[: training.keep_best]
    mean = checkpoint.average([checkpoints.parameters(step, like, mesh) for step in steps])
    validation = validate(mean)
    checkpoint.save_average(
        run.average, mean, {"steps": steps, "until": checkpoints.latest(), "validation": validation}
    )
    log.info("average of steps %s: %s", ", ".join(map(str, steps)), logbook.line(validation))
