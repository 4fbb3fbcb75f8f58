"""The device and its speed of matrix products."""

import time
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import jax
import jax.numpy as jnp

from transformer.distributed.peaks import peak


def rows(*, smoke: bool) -> Iterator[dict[str, Any]]:
    device = jax.devices()[0]
    memory = device.memory_stats() or {}
    yield {
        "what": "device",
        "value": device.device_kind,
        "devices": len(jax.devices()),
        "memory GiB": round(memory.get("bytes_limit", 0) / 2**30, 1),
    }
    for package in ("jax", "jaxlib", "flax", "attention-transformer"):
        yield {"what": package, "value": version(package)}
    size = 256 if smoke else 8192
    listed = peak(device.device_kind)
    for name, precision in (("float32", "highest"), ("float32", "default"), ("bfloat16", "default")):
        flops = product(size, jnp.dtype(name), precision)
        share = {"share of the listed bfloat16 peak": flops / listed} if listed else {}
        yield {"what": f"product of {size} x {size}, {name}, {precision} precision", "TFLOP/s": flops / 1e12, **share}


def product(size: int, dtype: Any, precision: str) -> float:
    """FLOP/s of a product of square matrices."""
    x = jax.random.normal(jax.random.key(1), (size, size)).astype(dtype)
    multiply = jax.jit(lambda a, b: jnp.matmul(a, b, precision=precision))
    y = multiply(x, x).block_until_ready()
    times = 20
    began = time.perf_counter()
    for _ in range(times):
        y = multiply(x, y / size)
    y.block_until_ready()
    return 2 * size**3 * times / (time.perf_counter() - began)
