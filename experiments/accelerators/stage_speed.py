"""Speed of training: the Transformer base and big on lengths like WMT's, in bfloat16, also with rematerialisation and
with growing batches; Bahdanau and Luong at the papers' sizes."""

import time
from collections.abc import Iterator
from typing import Any

import jax
from models import Trainer, batches, big, config, lengths, peak_memory

from transformer.config import Attention, Batching, Rnn
from transformer.distributed.peaks import peak

UPDATES = 40


def rows(*, smoke: bool) -> Iterator[dict[str, Any]]:
    if smoke:
        small = big(1, 64, 128, 4)
        yield measure("smoke", small, 512, 100, 2, updates=3, precision="float32")
        return
    base, large = big(), big(width=1024, feedforward=4096, heads=16)
    yield measure("Transformer base", base, 25_600, 37_000, 6)
    yield measure("Transformer big", large, 25_600, 37_000, 6)
    yield measure("Transformer base, float32", base, 25_600, 37_000, 4, precision="float32")
    yield measure("Transformer big, remat", large, 25_600, 37_000, 4, remat="all")
    yield measure("Bahdanau 2015", bahdanau(), 4_096, 30_000, 3)
    yield measure("Luong 2015", luong(), 6_400, 50_000, 3)
    for tokens in (51_200, 102_400, 204_800, 409_600):
        row = measure(f"Transformer base, {tokens:,} tokens", base, tokens, 37_000, 4)
        yield row
        if "ended" in row:
            return


def measure(
    name: str, model: Any, tokens: int, vocabulary: int, shapes: int, *, updates: int = UPDATES, **training: Any
) -> dict[str, Any]:
    """One row. Memory is the most that the process used so far."""
    given = batches(lengths(2_000 if updates < UPDATES else 100_000), Batching(tokens=tokens, shapes=shapes,
                    length_multiple=8), vocabulary)  # fmt: skip
    began = time.perf_counter()
    try:
        trainer = Trainer(config(model, **{"precision": "bfloat16", **training}), vocabulary, given)
        compiled = time.perf_counter() - began
        for bucket in given:
            jax.block_until_ready(trainer.update(bucket).counts)
        order = [list(given)[number % len(given)] for number in range(updates)]
        began = time.perf_counter()
        for bucket in order:
            metrics = trainer.update(bucket)
        jax.block_until_ready((trainer.state, metrics.counts))
        seconds = time.perf_counter() - began
    except jax.errors.JaxRuntimeError as error:
        return {"training": name, "ended": str(error).splitlines()[0][:120]}
    real = sum(int((given[bucket].target_out != 0).sum()) for bucket in order)
    useful = sum(trainer.operations(bucket) for bucket in order) / seconds
    listed = peak(jax.devices()[0].device_kind)
    return {
        "training": name,
        "target tokens/s": real / seconds,
        "useful TFLOP/s": useful / 1e12,
        "MFU": useful / listed if listed else "",
        "ms an update": 1e3 * seconds / updates,
        "compile s": compiled,
        "shapes": len(given),
        "peak GiB": peak_memory() or "",
    }


def bahdanau() -> Rnn:
    """Bahdanau 2015, appendix A: 1,000 units, embeddings of 620, alignment model of 1,000."""
    attention = Attention(score="additive", hidden=1_000)
    return Rnn(decoder="bahdanau", cell="gru", bidirectional=True, embedding=620, width=1_000, readout=500,
               attention=attention, dropout=0.0)  # fmt: skip


def luong() -> Rnn:
    """Luong 2015, section 4.1: 4 layers of 1,000, embeddings of 1,000, dropout 0.2."""
    return Rnn(encoder_layers=4, decoder_layers=4, embedding=1_000, width=1_000, reverse=True)
