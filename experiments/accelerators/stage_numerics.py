"""The accelerator against the CPU: hidden states, loss and gradients of every family and attention; the fused kernel
against the plain computation.

The reference is float32 on the CPU, from the same parameters and tokens. `highest` turns TF32 off, `default` leaves it
to the device. Differences are relative: the largest difference over the largest value, for gradients the norm of the
difference over the norm.
"""

import itertools
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from models import config, variants

from transformer.attention.attend import attend, cudnn_serves, fused
from transformer.data.batching.pairs import Batch
from transformer.models.build import builder, create, split, structure
from transformer.tasks.translation.loss import TranslationLoss

V = 50
BOUNDS = {"float32, highest": 1e-4, "float32, default": 1e-2, "bfloat16": 1e-1}
FUSED_BOUND = 2e-2


def rows(*, smoke: bool) -> Iterator[dict[str, Any]]:
    chosen = list(variants())[:: 12 if smoke else 1]
    # Programs of different models are compiled in parallel.
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        yield from pool.map(compared, *zip(*chosen, strict=True))
    yield from kernels(smoke=smoke)


def compared(name: str, model: Any) -> dict[str, Any]:
    """The row of a model."""
    model.check()
    batch = sentences()
    _, parameters = split(create(model, V, V, 1))
    cpu, device = jax.devices("cpu")[0], jax.devices()[0]
    with jax.default_matmul_precision("highest"):
        reference = outputs(model, "float32", jax.device_put(parameters, cpu), jax.device_put(batch, cpu))
    row: dict[str, Any] = {"model": name}
    for kind, bound in BOUNDS.items():
        precision, matmul = ("bfloat16", "default") if kind == "bfloat16" else kind.split(", ")
        with jax.default_matmul_precision(matmul):
            ours = outputs(model, precision, jax.device_put(parameters, device), jax.device_put(batch, device))
        found = differences(ours, reference)
        row |= {f"{kind}: {what}": value for what, value in found.items()}
        row[f"{kind}: within {bound}"] = bool(max(found.values()) <= bound)
    return row


def sentences() -> Batch:
    """Eight pairs of odd and even lengths, padded."""
    random = np.random.default_rng(1)
    real = np.arange(24)[None] < np.array([24, 23, 17, 16, 9, 5, 2, 1])[:, None]
    source, target = (np.where(real, random.integers(4, V, real.shape), 0).astype(np.int32) for _ in range(2))
    shifted = np.pad(target[:, :-1], [(0, 0), (1, 0)], constant_values=2) * real
    return Batch(source, shifted.astype(np.int32), target)


def outputs(model: Any, precision: Any, parameters: Any, batch: Batch) -> tuple[Any, Any, Any]:
    """Hidden states, loss and gradients as NumPy arrays."""
    build, task = builder(structure(model, V, V, precision=precision)), TranslationLoss.of(config(model))

    def loss(parameters: Any) -> tuple[Any, Any]:
        made = build(parameters)
        hidden, _ = made.decode(made.encode(batch.source), batch.target_in, weights=False)
        real = (batch.target_out != 0)[..., None]
        return task.loss(build(parameters), batch, task.counts(batch), jax.random.key(1))[0], jnp.where(real, hidden, 0)

    (value, hidden), gradients = jax.jit(jax.value_and_grad(loss, has_aux=True))(parameters)
    return jax.tree.map(lambda x: np.asarray(x, np.float32), (hidden, value, gradients))


def differences(ours: tuple[Any, Any, Any], reference: tuple[Any, Any, Any]) -> dict[str, float]:
    """Relative differences."""
    hidden, loss = (float(np.abs(a - b).max() / np.abs(b).max()) for a, b in zip(ours[:2], reference[:2], strict=True))
    apart = jax.tree.map(np.subtract, ours[2], reference[2])
    gradient = float(optax.tree.norm(apart) / optax.tree.norm(reference[2]))
    return {"hidden": hidden, "loss": loss, "gradient": gradient}


def kernels(*, smoke: bool) -> Iterator[dict[str, Any]]:
    """The fused attention against the plain one in float32, on inputs in bfloat16."""
    widths, sizes = (32, 64, 128), ((64, 64), (63, 64), (40, 7), (1, 50))
    shapes = list(itertools.product(widths, sizes, (False, True)))
    for K, (T, S), causal in shapes[:2] if smoke else shapes:
        B, H = 4, 8
        keys = jax.random.split(jax.random.key(K + T), 3)
        lengths = ((H, T), (H, S), (H, S))
        query, key, value = (
            jax.random.normal(k, (B, *length, K)).astype(jnp.bfloat16) for k, length in zip(keys, lengths, strict=True)
        )
        real = jnp.arange(S)[None] < jnp.array([S, max(1, S // 2), max(1, S - 1), 1])[:, None]
        mask = real[:, None, None] & (jnp.tril(jnp.ones((T, S), bool)) if causal else True)
        ours = jax.jit(fused)(query, key, value, mask)
        q, k, v = (x.astype(jnp.float32) for x in (query, key, value))
        with jax.default_matmul_precision("highest"):
            energies = jnp.einsum("bhtk,bhsk->bhts", q, k) / jnp.sqrt(K)
            plain, _ = jax.jit(attend)(energies, v, jnp.broadcast_to(mask, energies.shape))
        difference = float(jnp.abs(ours.astype(jnp.float32) - plain).max() / jnp.abs(plain).max())
        yield {
            "model": f"fused, K={K}, T={T}, S={S}{', causal' if causal else ''}",
            "cuDNN": cudnn_serves(query, key),
            "bfloat16: hidden": difference,
            f"bfloat16: within {FUSED_BOUND}": difference <= FUSED_BOUND,
        }
