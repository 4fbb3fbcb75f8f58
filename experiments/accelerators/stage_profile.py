"""Where the time of an update goes: the share of matrix products, and the five slowest operations."""

import re
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
from jax.profiler import ProfileData
from models import Trainer, batches, big, config, lengths

from transformer.config import Batching

PRODUCT = re.compile(r"gemm|dot|cublas|cutlass|matmul|convolution|nvjet", re.IGNORECASE)
"""Names of kernels and of XLA's operations that multiply matrices."""


def rows(*, smoke: bool) -> Iterator[dict[str, Any]]:
    vocabulary, updates = (100, 2) if smoke else (37_000, 5)
    model, tokens = (big(1, 64, 128, 4), 512) if smoke else (big(), 25_600)
    given = batches(lengths(2_000), Batching(tokens=tokens, shapes=1, length_multiple=8), vocabulary)
    trainer = Trainer(config(model, precision="float32" if smoke else "bfloat16"), vocabulary, given)
    (bucket,) = given
    jax.block_until_ready(trainer.update(bucket).counts)
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            for _ in range(updates):
                metrics = trainer.update(bucket)
            jax.block_until_ready((trainer.state, metrics.counts))
        (file,) = Path(folder).rglob("*.xplane.pb")
        spent = times(ProfileData.from_file(str(file)))
    total = sum(spent.values())
    products = sum(value for name, value in spent.items() if PRODUCT.search(name))
    yield {"operation": "all", "ms an update": total / updates / 1e6, "share": 1.0}
    yield {"operation": "matrix products", "ms an update": products / updates / 1e6, "share": products / max(total, 1)}
    for name, value in spent.most_common(5):
        yield {"operation": name[:100], "ms an update": value / updates / 1e6, "share": value / max(total, 1)}


def times(profile: ProfileData) -> Counter[str]:
    """Nanoseconds by operation: of the device's kernels, or on a CPU of XLA's threads."""
    planes = list(profile.planes)
    devices = [plane for plane in planes if plane.name.startswith("/device:")]
    spent: Counter[str] = Counter()
    for plane in devices or [plane for plane in planes if "CPU" in plane.name]:
        for line in plane.lines:
            # A TPU repeats the operations by module and by step, a GPU has a line for each stream.
            if devices and re.search(r"Steps|Modules|TraceMe|Framework|Source", line.name):
                continue
            for event in line.events:
                stats = dict(event.stats)
                if devices or "hlo_op" in stats:
                    spent[str(stats.get("hlo_op", event.name)) if not devices else event.name] += event.duration_ns
    return spent
