"""The cost of an update's parts and their alternatives, measured alternately within one process.

    python experiments/throughput/parts.py [masks loss attention layers optimizer] [--rows 224 --length 18 ...]

Forward and backward unless stated; medians in milliseconds, and how many times faster than the first line of its part.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax
import tyro
from flax import nnx

from transformer import config
from transformer.__main__ import ask_for_huge_pages
from transformer.attention.attend import attend, fused
from transformer.attention.scores import scaled_dot
from transformer.models.build import create, split
from transformer.nn import dropout
from transformer.nn.layers import Embedding, Output
from transformer.nn.losses import cross_entropy
from transformer.training import optimizer as optim

Part = Literal["masks", "loss", "attention", "layers", "optimizer"]


@dataclass(frozen=True)
class Parts:
    """Time the parts of an update of Transformer-Tiny."""

    parts: tyro.conf.Positional[tuple[Part, ...]] = ("masks", "loss", "attention", "layers", "optimizer")
    rows: int = 224
    length: int = 18
    width: int = 128
    heads: int = 4
    vocabulary: int = 10_000
    repeats: int = 9

    def __call__(self) -> None:
        for part in self.parts:
            print(f"\n{part}: {globals()[part].__doc__}")
            self.race(globals()[part](self))

    def race(self, contestants: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]]) -> None:
        """Compile all, then time them alternately."""
        programs = {name: jax.jit(f).lower(*inputs).compile() for name, (f, inputs) in contestants.items()}
        seconds: dict[str, list[float]] = {name: [] for name in programs}
        for repeat in range(-1, self.repeats):
            for name, program in programs.items():
                inputs = contestants[name][1]
                jax.block_until_ready(program(*inputs))
                start = time.perf_counter()
                for _ in range(5):
                    result = program(*inputs)
                jax.block_until_ready(result)
                if repeat >= 0:
                    seconds[name].append((time.perf_counter() - start) / 5)
        medians = {name: 1e3 * statistics.median(values) for name, values in seconds.items()}
        first = next(iter(medians.values()))
        for name, median in medians.items():
            memory = programs[name].memory_analysis()
            held = f"{memory.temp_size_in_bytes / 2**20:6.0f} MiB" if memory else ""
            print(f"  {name:44s} {median:8.2f} ms  x{first / median:5.2f}  {held}", flush=True)

    def normal(self, *shape: int) -> jax.Array:
        return jax.random.normal(jax.random.key(len(shape)), shape)


def masks(s: Parts) -> dict[str, tuple[Callable[..., Any], tuple[Any, ...]]]:
    """dropout of [B*T, D] by rate 0.3 and its gradient"""
    x, key = s.normal(s.rows * s.length, s.width), jax.random.key(1)

    def generator(x: jax.Array, key: jax.Array) -> jax.Array:
        return jnp.where(jax.random.bernoulli(key, 0.7, x.shape), x / 0.7, 0)

    def kept(x: jax.Array, key: jax.Array) -> jax.Array:
        bits = dropout.random_bits(key, x.shape)
        return jnp.where(bits >= jnp.uint32(0.3 * 2**32), x / 0.7, 0)

    def both(f: Callable[..., jax.Array]) -> Callable[..., Any]:
        return lambda x, key: jax.grad(lambda x: (f(x, key) ** 2).sum())(x)

    return {
        "threefry": (both(generator), (x, key)),
        "rbg": (both(generator), (x, jax.random.key(1, impl="rbg"))),
        "counter hash, mask kept": (both(kept), (x, key)),
        "counter hash, mask drawn again (ours)": (both(lambda x, key: dropout.dropout(x, 0.3, key)), (x, key)),
    }


def loss(s: Parts) -> dict[str, tuple[Callable[..., Any], tuple[Any, ...]]]:
    """output layer and smoothed cross-entropy with gradients by hidden states and embedding"""
    hidden, table = s.normal(s.rows, s.length, s.width), s.normal(s.vocabulary, s.width) * s.width**-0.5
    targets = jax.random.randint(jax.random.key(2), (s.rows, s.length), 1, s.vocabulary)

    def plain(hidden: jax.Array, table: jax.Array) -> jax.Array:
        logits = hidden @ table.T
        labels = optax.smooth_labels(jax.nn.one_hot(targets, s.vocabulary), 0.1)
        return optax.softmax_cross_entropy(logits, labels).sum()

    def ours(chunk: int, hidden: jax.Array, table: jax.Array) -> jax.Array:
        embedding = Embedding(1, s.width, rngs=nnx.Rngs(0))
        embedding.table = nnx.Param(table)
        return cross_entropy(Output(embedding), hidden, targets, smoothing=0.1, chunk=chunk)[0]

    chunks = {f"chunks of {n} (ours)": partial(ours, n) for n in (256, 512, 1024, s.rows * s.length)}
    return {n: (jax.grad(f, (0, 1)), (hidden, table)) for n, f in {"plain": plain, **chunks}.items()}


def attention(s: Parts) -> dict[str, tuple[Callable[..., Any], tuple[Any, ...]]]:
    """scaled dot-product attention of all heads, padding masked, without projections"""
    K = s.width // s.heads
    query, keys, values = (x for x in s.normal(3, s.rows, s.heads, s.length, K))
    mask = jnp.arange(s.length)[None, None, None] < jnp.full((s.rows, 1, 1, 1), s.length - 2)

    def ours(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
        return attend(scaled_dot(q, k, {}), v, mask)[0]

    def merged(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
        flat = (x.reshape(-1, s.length, K) for x in (q, k, v))
        one = jnp.broadcast_to(mask, (s.rows, s.heads, 1, s.length)).reshape(-1, 1, s.length)
        q, k, v = flat
        return attend(scaled_dot(q, k, {}), v, one)[0]

    def library(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
        return fused(q, k, v, mask)

    variants = {"batch [B, H] (ours)": ours, "merged [B*H]": merged, "fused (jax.nn.dot_product_attention)": library}
    return {
        name: (jax.grad(lambda q, k, v, f=f: (f(q, k, v) ** 2).sum(), (0, 1, 2)), (query, keys, values))
        for name, f in variants.items()
    }


def layers(s: Parts) -> dict[str, tuple[Callable[..., Any], tuple[Any, ...]]]:
    """the whole Transformer-Tiny with loss, by how its layers run and where it drops"""
    source = jax.random.randint(jax.random.key(3), (s.rows, s.length), 4, s.vocabulary)
    contestants = {}
    for name, changes in {
        "scan over layers, no dropout": {},
        "unrolled, no dropout": {"unroll": True},
        "scan, dropout 0.3": {"dropout": 0.3},
        "unrolled, dropout 0.3": {"dropout": 0.3, "unroll": True},
        "unrolled, and on attention weights": {"dropout": 0.3, "attention_dropout": 0.3, "unroll": True},
    }.items():
        shape = {"width": s.width, "feedforward": 2 * s.width, "attention": config.Attention(heads=s.heads)}
        model = config.Transformer(**({"dropout": 0.0} | shape | changes))
        graph, parameters = split(create(model, s.vocabulary, s.vocabulary, 1))

        def total(parameters: Any, key: jax.Array, graph: Any = graph) -> jax.Array:
            net = nnx.merge(graph, parameters)
            hidden, _ = net.decode(net.encode(source, key), source, key)
            return cross_entropy(net.output, hidden, source, smoothing=0.1)[0]

        contestants[name] = (jax.grad(total), (parameters, jax.random.key(4)))
    return contestants


def optimizer(s: Parts) -> dict[str, tuple[Callable[..., Any], tuple[Any, ...]]]:
    """the update of all parameters from their gradients (nothing backward)"""
    model = config.Transformer(width=s.width, feedforward=2 * s.width, attention=config.Attention(heads=s.heads))
    _, parameters = split(create(model, s.vocabulary, s.vocabulary, 1))
    contestants = {}
    for name, settings in {
        "adam": config.Optimizer(clip=0.0),
        "adam, clipped": config.Optimizer(),
        "adamw, clipped": config.Optimizer(name="adamw", weight_decay=0.01),
    }.items():
        transform = optim.optimizer(settings, lambda _: jnp.float32(1e-3))

        def update(parameters: Any, state: Any, transform: Any = transform) -> Any:
            updates, state = transform.update(parameters, state, parameters)
            return optax.apply_updates(parameters, updates), state

        contestants[name] = (update, (parameters, transform.init(parameters)))
    return contestants


if __name__ == "__main__":
    ask_for_huge_pages()
    tyro.cli(Parts)()
