"""Training: one jitted step, and the loop around it, read from top to bottom."""

import logging
import math
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array

from transformer import checkpoint, cluster, config, flops, logbook, optim, parallel
from transformer.checkpoint import Checkpoints
from transformer.data import batches
from transformer.data.batches import Batch, Bucket, Plan
from transformer.errors import InterruptedRunError, LostProcessError, TransformerError
from transformer.logbook import Logbook, NoLogbook
from transformer.losses import cross_entropy, guiding
from transformer.meter import Meter, NonFiniteLossError, Wishes
from transformer.prepare import Prepared
from transformer.rundir import Run
from transformer.watch import Trace, compilations, stop_requests

log = logging.getLogger(__name__)

State = dict[str, Any]
"""step, parameters, optimizer: pure trees. Dropout keys follow from (seed, step), so no generator is kept."""


def make_step(
    graph: Any, optimizer: optax.GradientTransformation, settings: config.Config, mesh: Mesh
) -> Callable[[State, Batch, Array], tuple[State, dict[str, Array]]]:
    """One update: (state, batch, wishes) -> (state, metrics). Pure; the caller jits it.

    `wishes` [N, 2] is what each device's process wishes (see `Wishes`); the metrics have their sums, so that all
    processes end at one update.
    """

    guided, pieces = settings.training.guided, settings.training.accumulate

    def loss(parameters: Any, batch: Batch, key: Array) -> tuple[Array, dict[str, Array]]:
        model = nnx.merge(graph, parameters)
        encoder_key, decoder_key = jax.random.split(key)
        memory = model.encode(batch.source, encoder_key)
        hidden, attention = model.decode(memory, batch.target_in, decoder_key, weights=guided.weight > 0)
        total, nll = cross_entropy(
            model.output,
            hidden,
            batch.target_out,
            smoothing=settings.training.label_smoothing,
            chunk=settings.training.loss_chunk,
        )
        parts = {"nll": nll.sum()}
        if guided.weight > 0:
            heads = attention.cross[:, guided.layer, jnp.array(guided.heads)]
            parts["guiding"] = guiding(heads, batch.alignment, batch.target_out)
            total += guided.weight * parts["guiding"]
        return total, parts

    def sums(parameters: Any, batch: Batch, key: Array) -> tuple[Any, dict[str, Array]]:
        """Gradients and losses, summed over the rows, piece by piece."""
        # Every piece takes its rows from all devices' shares, so that masks are those of one device.
        cut = jax.tree.map(lambda x: x.reshape(-1, pieces, *x.shape[1:]).swapaxes(0, 1), batch)

        def accumulate(sums: Any, piece: tuple[Batch, Array]) -> tuple[Any, None]:
            rows, number = piece
            grad = jax.value_and_grad(loss, has_aux=True)
            return jax.tree.map(jnp.add, sums, grad(parameters, rows, jax.random.fold_in(key, number))), None

        names = ("nll", "guiding") if guided.weight > 0 else ("nll",)
        nothing = (jnp.zeros(()), {name: jnp.zeros(()) for name in names})
        zeros = (nothing, jax.tree.map(jnp.zeros_like, parameters))
        ((total, parts), gradients), _ = jax.lax.scan(accumulate, zeros, (cut, jnp.arange(pieces)))
        return gradients, parts | {"loss": total, "tokens": jnp.sum(batch.target_out != 0)}

    def step(state: State, batch: Batch, wishes: Array) -> tuple[State, dict[str, Array]]:
        key = jax.random.fold_in(jax.random.key(settings.seed), state["step"])
        over_rows = parallel.sum_over_rows(mesh, state["parameters"], sums)
        gradients, totals = over_rows(state["parameters"], batch, key)
        # Global sum over global sum: the mean over all tokens of the update, however they are spread.
        tokens = totals.pop("tokens")
        gradients = jax.tree.map(lambda g: g / tokens, gradients)
        updates, optimizer_state = optimizer.update(gradients, state["optimizer"], state["parameters"])
        new = {
            "step": state["step"] + 1,
            "parameters": optax.apply_updates(state["parameters"], updates),
            "optimizer": optimizer_state,
        }
        means = {name: total / tokens for name, total in totals.items()}
        agreed = dict(zip(Wishes._fields, wishes.sum(0), strict=True))
        return new, means | {"grad_norm": optax.tree.norm(gradients), "tokens": tokens} | agreed

    return step


def compile_ahead(
    step: Callable[[State, Batch, Array], tuple[State, dict[str, Array]]],
    state: State,
    plan: Plan,
    mesh: Mesh,
    aligned: bool = False,
) -> dict[Bucket, Any]:
    """The step, compiled for every shape of the plan; `aligned` says whether batches bring alignments.

    Most of XLA's work has one thread, so shapes share the cores.
    """
    jitted = jax.jit(step, donate_argnums=0, out_shardings=(parallel.by_rules(mesh, state), parallel.replicated(mesh)))

    def shapes(bucket: Bucket) -> Batch:
        rows, S, T = bucket
        of: Any = partial(jax.ShapeDtypeStruct, sharding=parallel.by_rows(mesh))
        alignment = of((rows, T, S), jnp.float32) if aligned else None
        source, target = (of((rows, length), jnp.int32) for length in (S, T))
        return Batch(source, target, target, alignment)

    nothing = wishes(mesh, Wishes(False, False))
    lowered = [jitted.lower(state, shapes(bucket), nothing) for bucket in plan.buckets]
    with ThreadPoolExecutor(min(len(lowered), os.cpu_count() or 1)) as pool:
        programs = pool.map(lambda one: one.compile(), lowered)
        return dict(zip(plan.buckets, programs, strict=True))


def wishes(mesh: Mesh, own: Wishes) -> Array:
    """[N, 2], a row for each device: what its process wishes."""
    rows = len(parallel.own_rows(mesh, parallel.shares(mesh)))
    wished: Array = parallel.put_batch(mesh, np.tile(np.array(own, np.float32), (rows, 1)))
    return wished


@dataclass
class Host:
    """What the host knows beside the state; a checkpoint keeps it as JSON."""

    minutes: float = 0.0
    """Training time so far, all sittings together."""
    best: float | None = None
    """Best quality so far (higher is better): validation BLEU, or minus the loss."""
    bad: int = 0
    """Validations since then."""

    def judge(self, quality: float) -> None:
        """Take a validation into account."""
        better = self.best is None or quality > self.best
        self.best, self.bad = (quality, 0) if better else (self.best, self.bad + 1)

    def late(self, training: config.Training) -> bool:
        """Whether the time is over."""
        return 0 < training.minutes <= self.minutes

    def done(self, training: config.Training, step: int, late: bool) -> str | None:
        """Why training is over, or None."""
        if step >= training.steps:
            return f"{step} updates"
        if late:
            return f"{self.minutes:.1f} minutes of training"
        if 0 < training.patience <= self.bad:
            return f"{self.bad} validations without a better {training.metric}"
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
        TransformerError: the loss is not finite, a checkpoint cannot be written, the data changed.
        InterruptedRunError: Ctrl-C or SIGTERM; the state was saved.
    """
    training, plan = settings.training, prepared.plan
    rate = optim.schedule(settings.schedule, settings.model.width, training.steps)
    optimizer = optim.optimizer(settings.optimizer, rate)
    state: State = {"step": jnp.int32(0), "parameters": parameters, "optimizer": optimizer.init(parameters)}
    state = parallel.put(state, parallel.by_rules(mesh, state))
    host = Host()
    checkpoints = Checkpoints(run.checkpoints, training)
    if (found := checkpoints.resume(state, mesh)) is not None:
        state, host = found[0], Host(**found[1])
        log.info("going on from step %d", int(state["step"]))
    step = int(state["step"])
    count = sum(leaf.size for leaf in jax.tree.leaves(state["parameters"]))
    log.info("model: %s parameters; %d device(s)", f"{count:,}", mesh.size)

    stream = batches.stream(prepared.examples, plan, start=step, own=partial(parallel.own_rows, mesh))
    started = time.perf_counter()
    began = started - 60 * host.minutes
    with compilations() as compiled, stop_requests() as stop:
        programs = compile_ahead(
            make_step(graph, optimizer, settings, mesh), state, plan, mesh, aligned=prepared.examples.links is not None
        )
        log.info("the update compiled for %d shapes of batches in %.0f s", len(programs), time.perf_counter() - started)
        book = Logbook(run, step, training.steps) if cluster.is_first() else NoLogbook()
        meter, validating = Meter(mesh.size, flops.peak(jax.devices()[0].device_kind)), 0.0
        trace = Trace(run.profile, step) if profile else lambda _: None
        own = Wishes(False, host.late(training))
        wished, late = wishes(mesh, own), own.late
        try:
            while not host.done(training, step, late):
                asked = time.perf_counter()
                index, rows = next(stream)
                waited = time.perf_counter() - asked
                batch = parallel.put_batch(mesh, rows)
                state, metrics = programs[Bucket.of(batch)](state, batch, wished)
                step += 1
                done = flops.useful_flops(settings, rows, prepared.tokenizers.target.size) / jax.local_device_count()
                meter.add(index, metrics, waited, done)
                trace(step)
                book.bar.update()
                host.minutes = (time.perf_counter() - began) / 60
                if own != (own := Wishes(bool(stop), host.late(training))):
                    wished = wishes(mesh, own)
                # Alone a process does at once what it wishes; together they do what all of them have heard.
                stopping, late = own if jax.process_count() == 1 else meter.wishes

                if step % training.log_every == 0:
                    values = meter.close() | {"lr": float(rate(step - 1)), "minutes": host.minutes}
                    book.write("train", step, values | {"epoch": step / plan.batches_per_epoch})
                    checkpoints.seal()

                if step % training.validate_every == 0 or host.done(training, step, late):
                    meter.settle()  # nothing that is not finite is ever saved
                    paused = time.perf_counter()
                    validation = validate(state["parameters"])
                    validating += time.perf_counter() - paused
                    if not math.isfinite(validation["loss"]):
                        raise NonFiniteLossError(index, {"loss": validation["loss"], "grad_norm": math.nan})
                    quality = validation["bleu"] if training.metric == "bleu" else -validation["loss"]
                    host.judge(quality)
                    book.write("validation", step, validation | {"compilations": len(compiled)})
                    checkpoints.save(state, vars(host), quality)
                    meter.pause(time.perf_counter() - paused)
                elif stopping:
                    meter.settle()
                    checkpoints.save(state, vars(host), None)
                if stopping and not host.done(training, step, late):
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
                host.done(training, step, late),
                host.minutes,
                100 * validating / (time.perf_counter() - started),
                len(compiled),
            )
            if training.average != "none":
                _average(training, run, checkpoints, state["parameters"], validate, mesh)
        except NonFiniteLossError as error:
            ids = plan.batch(error.batch)[1]
            raise TransformerError(
                f"the loss is not finite at update {error.batch + 1}, {error}, training pairs "
                f"{', '.join(map(str, ids[:3]))}, ... ({len(ids)}, counted without those left out). The last good "
                f"checkpoint is {checkpoints.last_good()}; try a lower --schedule.peak, a longer --schedule.warmup or "
                "--optimizer.clip=1"
            ) from error
        except jax.errors.JaxRuntimeError as error:
            if jax.process_count() == 1:
                raise
            raise LostProcessError(
                f"another process of the job ended or cannot be reached ({str(error).splitlines()[0][:200]}). The last "
                f"good checkpoint is {checkpoints.last_good()}: start all of them again with --resume"
            ) from error
        finally:
            stream.close()
            book.close()
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
