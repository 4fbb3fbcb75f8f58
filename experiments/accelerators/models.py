"""The models that the stages measure, and batches of text like WMT's without the text."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from transformer.attention.config import SCORES, WINDOWS
from transformer.config import Attention, Batching, Config, Optimizer, Rnn, Schedule, Training, Transformer
from transformer.data.batching.buckets import Bucket, assign, choose_buckets
from transformer.data.batching.pairs import Batch
from transformer.distributed import sharding as parallel
from transformer.models.build import create, split
from transformer.models.composed.config import Composed
from transformer.tasks.translation.loss import TranslationLoss
from transformer.training import optimizer as optim
from transformer.training.signals import StopFlags, put_flags
from transformer.training.step import compile_ahead, init_state, make_step

SMALL: dict[str, Any] = {"encoder_layers": 1, "decoder_layers": 1, "width": 64, "feedforward": 96, "max_length": 64,
                         "dropout": 0.0}  # fmt: skip

RECURRENT: dict[str, Any] = {"embedding": 32, "width": 32, "max_length": 64, "dropout": 0.0}


def variants() -> Iterator[tuple[str, Any]]:
    """A small model of every family and of every attention axis."""
    for score in SCORES:
        attention = Attention(score=score, heads=4, places=("cross",))
        yield f"transformer, {score}", Transformer(attention=attention, **SMALL)
        yield f"luong, {score}", Rnn(attention=Attention(score=score), **RECURRENT)
    for window in WINDOWS:
        attention = Attention(window=window, half_width=3, heads=4, places=("cross",))
        yield f"transformer, {window}", Transformer(attention=attention, **SMALL)
        attention = dataclasses.replace(attention, score="general")
        yield f"luong, {window}", Rnn(attention=attention, **RECURRENT)
    yield (
        "transformer, pre-norm, swiglu, learned",
        Transformer(norm="pre", activation="swiglu", positions="learned", attention=Attention(heads=4), **SMALL),
    )
    yield "transformer, fused", Transformer(attention=Attention(heads=4, fused="always"), **SMALL)
    additive = Attention(score="additive")
    yield "bahdanau", Rnn(decoder="bahdanau", cell="gru", bidirectional=True, attention=additive, **RECURRENT)
    yield "luong without input feeding", Rnn(input_feeding=False, **RECURRENT)
    yield (
        "rnn encoder under a transformer",
        Composed(
            encoder=Rnn(bidirectional=True, **RECURRENT),
            decoder=Transformer(attention=Attention(heads=4), **SMALL),
        ),
    )


def big(layers: int = 6, width: int = 512, feedforward: int = 2048, heads: int = 8, **changes: Any) -> Transformer:
    """A Transformer of the paper's shape (Vaswani 2017, table 3); the defaults are those of base."""
    return Transformer(
        encoder_layers=layers,
        decoder_layers=layers,
        width=width,
        feedforward=feedforward,
        attention=Attention(heads=heads),
        dropout=0.1,
        **changes,
    )


def lengths(count: int, mean: float = 28.0, longest: int = 128, seed: int = 1) -> dict[str, np.ndarray]:
    """Lengths in tokens like those of WMT's sentences: a gamma distribution with a standard deviation of 0.6 means, and
    targets that differ from their sources by a sixth."""
    random = np.random.default_rng(seed)
    source = random.gamma(1 / 0.36, 0.36 * mean, count)
    target = source * random.lognormal(0.0, 0.16, count)
    return {name: np.clip(np.rint(side), 3, longest).astype(np.int64) for name, side in
            (("source", source), ("target", target))}  # fmt: skip


def batches(found: dict[str, np.ndarray], batching: Batching, vocabulary: int, seed: int = 1) -> dict[Bucket, Batch]:
    """For each shape that the project would choose, a batch of random tokens with lengths of that shape."""
    random = np.random.default_rng(seed)
    buckets = choose_buckets(found, batching, 8)
    numbers = assign(list(found.values()), [bucket.lengths for bucket in buckets])
    made = {}
    for number, bucket in enumerate(buckets):
        ids = random.choice(np.flatnonzero(numbers == number), bucket.rows)
        sides = [
            np.where(np.arange(T)[None] < side[ids][:, None], random.integers(4, vocabulary, (bucket.rows, T)), 0)
            for T, side in zip(bucket.lengths, found.values(), strict=True)
        ]
        source, target = (side.astype(np.int32) for side in sides)
        shifted = np.pad(target[:, :-1], [(0, 0), (1, 0)], constant_values=2) * (target != 0)
        made[bucket] = Batch(source, shifted.astype(np.int32), target)
    return made


class Trainer:
    """The update of `transformer train` on given batches."""

    def __init__(self, config: Config, vocabulary: int, given: dict[Bucket, Batch]):
        self.model: Any = config.model
        training = config.training
        self.mesh, self.vocabulary, self.batches = parallel.make_mesh(config.mesh), vocabulary, given
        model = create(config.model, vocabulary, vocabulary, 1, precision=training.precision, remat=training.remat)
        graph, parameters = split(model)
        rate = optim.schedule(config.schedule, getattr(config.model, "width", 1), training.steps)
        rule = optim.optimizer(config.optimizer, rate)
        self.state = init_state(parameters, rule, self.mesh, config.model.sharding())
        self.flags = put_flags(self.mesh, StopFlags())
        step = make_step(graph, TranslationLoss.of(config), rule, config, self.mesh)
        self.programs = compile_ahead(step, self.state, given, self.mesh)

    def update(self, bucket: Bucket) -> Any:
        """One update on the batch of a shape, put on the devices as in training; its metrics."""
        put = parallel.put_batch(self.mesh, self.batches[bucket])
        self.state, metrics = self.programs[bucket](self.state, put, self.flags)
        return metrics

    def operations(self, bucket: Bucket) -> float:
        """Useful operations of an update: 2 for each multiplication forward and 4 backward, padding not counted."""
        source, target = ((side != 0).sum(1) for side in (self.batches[bucket].source, self.batches[bucket].target_out))
        return 6.0 * float(self.model.multiplications(source, target, self.vocabulary))


def config(model: Any, **training: Any) -> Config:
    """Settings of a training of the paper."""
    return Config(
        model=model,
        optimizer=Optimizer(b2=0.98, clip=0.0),
        schedule=Schedule(name="noam", peak=1.0, warmup=4_000),
        training=Training(**{"steps": 100_000, "loss_chunk": 4_096, **training}),
    )


def peak_memory() -> float | None:
    """Peak memory of the device in this process so far, in GiB; None if the device does not report it."""
    used = (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
    return None if used is None else used / 2**30
