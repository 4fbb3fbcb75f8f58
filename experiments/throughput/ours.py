"""Steady-state training speed of a recipe: python experiments/throughput/ours.py RECIPE [--steps N] [any setting].

Runs exactly the step, batches and shapes of `transformer train`, every shape once before the clock starts, and prints
one JSON object: real target tokens a second (padding not counted; data, optimizer and transfer included), the share of
the machine's sgemm peak that the useful products reach, peak memory, and the seconds of compilation.
"""

import json
import resource
import statistics
import sys
import time
from dataclasses import dataclass, field
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from transformer import recipes
from transformer.__main__ import ask_for_huge_pages
from transformer.config import Config
from transformer.data.batching import epochs
from transformer.data.batching.buckets import Bucket
from transformer.data.batching.pairs import Batch
from transformer.distributed import sharding as parallel
from transformer.models.build import split
from transformer.tasks.translation.prepare import prepare
from transformer.training import optimizer as optim
from transformer.training.signals import StopFlags, put_flags
from transformer.training.step import compile_ahead, init_state, make_step


@dataclass(frozen=True)
class Measure:
    """Time some updates of a recipe. Every setting of the recipe is an option."""

    recipe: tyro.conf.Positional[str]
    steps: int = 100
    """Updates on the clock."""
    warm: int = 20
    """Updates before it, in addition to one of every shape."""
    config: Annotated[tyro.conf.AvoidSubcommands[tyro.conf.FlagConversionOff[Config]], tyro.conf.arg(name="")] = field(
        default_factory=Config
    )

    def __call__(self) -> dict[str, Any]:
        settings = self.config
        prepared = prepare(settings, None)
        graph, parameters = split(
            prepared.build_model(precision=settings.training.precision, remat=settings.training.remat)
        )
        rate = optim.schedule(settings.schedule, getattr(settings.model, "width", 1), settings.training.steps)
        optimizer = optim.optimizer(settings.optimizer, rate)
        mesh = parallel.make_mesh(settings.mesh)
        state, nothing = (
            init_state(parameters, optimizer, mesh, settings.model.sharding()),
            put_flags(mesh, StopFlags()),
        )
        began = time.perf_counter()
        step = make_step(graph, prepared, optimizer, settings, mesh)
        examples, _ = prepared.epochs.epoch(0)
        nobody = np.zeros(0, np.int64)
        shapes = {bucket: prepared.batch(examples, bucket, nobody, epoch=0) for bucket in prepared.epochs.buckets}
        programs = compile_ahead(step, state, shapes, mesh)
        compiling = time.perf_counter() - began

        stream = epochs.stream(
            prepared.epochs, lambda examples, bucket, ids, epoch: prepared.batch(examples, bucket, ids, epoch=epoch)
        )
        unseen, tokens, flops, padded = set(programs), 0, 0.0, 0
        for number, (_, bucket, batch) in enumerate(stream, -self.warm):
            if number < 0:
                unseen.discard(bucket)
            for other in sorted(unseen) if number == 0 else ():
                state, _ = programs[other](state, parallel.put_batch(mesh, empty(other)), nothing)
            if number == 0:
                jax.block_until_ready(state)
                start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
            if number == self.steps:
                break
            state, metrics = programs[bucket](state, parallel.put_batch(mesh, batch), nothing)
            if number >= 0:
                tokens += int((batch.target_out != 0).sum())
                padded += batch.target_out.size
                flops += prepared.operations(batch)
            if number % 2:
                float(metrics.values()["loss"])  # as the log of `train`: at most two updates behind the device
        jax.block_until_ready(state)
        seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
        stream.close()
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        peak = sgemm()
        memory = jax.local_devices()[0].memory_stats()
        return {
            "ours": self.recipe,
            "device": jax.devices()[0].device_kind,
            "steps": self.steps,
            "target_tokens_per_s": round(tokens / seconds),
            "ms_per_step": round(1e3 * seconds / self.steps),
            "real_share": round(tokens / padded, 3),
            "useful_gflops": round(flops / seconds / 1e9),
            "sgemm_gflops": round(peak / 1e9),
            "share_of_peak": round(flops / seconds / peak, 3),
            "cpu_seconds_per_s": round(cpu / seconds, 2),
            "system_share": round((after.ru_stime - before.ru_stime) / cpu, 3),
            "compile_s": round(compiling, 1),
            "shapes": len(programs),
            "loss": round(float(metrics.values()["loss"]), 3),
            "peak_rss_mib": after.ru_maxrss // 1024,
            "peak_device_mib": memory["peak_bytes_in_use"] // 2**20 if memory else None,
        }


def empty(bucket: Bucket) -> Batch:
    """A batch of one token a row, of a shape that the updates before the clock may not meet (packed rows have one)."""
    source, target = (jnp.zeros((bucket.rows, length), jnp.int32).at[:, 0].set(3) for length in bucket.lengths)
    return Batch(source, target, target)


def sgemm(size: int = 3_000, repeats: int = 5) -> float:
    """FLOP/s of XLA's own product of two square float32 matrices, the median of some."""
    x = jax.random.normal(jax.random.key(0), (size, size))
    product = jax.jit(jnp.matmul)
    jax.block_until_ready(product(x, x))
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(product(x, x))
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / statistics.median(seconds)


if __name__ == "__main__":
    ask_for_huge_pages()
    arguments = sys.argv[1:]
    recipe = next((argument for argument in arguments if not argument.startswith("-")), "demo")
    measure = tyro.cli(Measure, args=arguments, default=Measure(tyro.MISSING, config=recipes.find(recipe)[1]))
    print(json.dumps(measure()))
