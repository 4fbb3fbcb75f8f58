"""A model for all tests of models: its functions compiled, its parameters large enough that each has an effect."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from transformer.models.build import create, split

SOURCE = jnp.array([[5, 6, 7, 3, 0, 0], [8, 9, 10, 11, 4, 3], [3, 0, 0, 0, 0, 0]], jnp.int32)
TARGET = jnp.array([[2, 5, 6, 7, 0], [2, 8, 9, 10, 11], [2, 4, 0, 0, 0]], jnp.int32)


class Variant(NamedTuple):
    settings: Any
    graph: Any
    parameters: Any

    @classmethod
    def of(cls, settings):
        graph, parameters = split(create(settings, 13 if getattr(settings, "tie", None) == "all" else 17, 13, seed=3))
        random = np.random.default_rng(0)
        # Fresh norms and biases are ones and zeros, which would hide a missing one.
        parameters = jax.tree.map(lambda p: p + 0.1 * random.normal(size=p.shape).astype(np.float32), parameters)
        return cls(settings, graph, parameters)

    def decode(self, source, target, weights=True):
        """Logits, hidden states and attention by teacher forcing."""
        return decode(self.graph, self.parameters, source, target, weights)

    def init_cache(self, length, beam, independent=False):
        return init_cache(self.graph, self.parameters, length, beam, independent)

    def stepper(self, cross_cache, weights=True):
        """(tokens, cache) -> the step of a search."""
        return partial(step, self.graph, weights, self.parameters, cross_cache)

    def reorder(self, cache, parent):
        return reorder(self.graph, self.parameters, cache, parent)


@partial(jax.jit, static_argnums=(0, 4))
def decode(graph, parameters, source, target, weights):
    model = nnx.merge(graph, parameters)
    hidden, attention = model.decode(model.encode(source, weights=weights), target, weights=weights)
    return model.output(hidden), hidden, attention


@partial(jax.jit, static_argnums=(0, 2, 3, 4))
def init_cache(graph, parameters, length, beam, independent=False):
    model = nnx.merge(graph, parameters)
    return model.init_cache(model.encode(SOURCE), length, beam, independent=independent)


@partial(jax.jit, static_argnums=(0, 1))
def step(graph, weights, parameters, cross_cache, tokens, cache):
    return nnx.merge(graph, parameters).step(tokens, cross_cache, cache, weights=weights)


@partial(jax.jit, static_argnums=0)
def reorder(graph, parameters, cache, parent):
    return nnx.merge(graph, parameters).reorder(cache, parent)
