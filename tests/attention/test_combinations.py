"""Combinations of mechanism, positions, normalizer, score, window and heads; `tests/models` has them in layers."""

import random

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.conftest import tiny
from transformer.attention import masks
from transformer.attention.config import NORMALIZERS, POSITIONS, SCORES
from transformer.attention.mechanisms import MECHANISMS
from transformer.attention.multihead import MultiHead
from transformer.config import Attention
from transformer.errors import UsageError

B, N, T, D = 2, 2, 3, 16
DEFAULT = 4
"""Of the thirty in the default suite."""
AXES = {
    "mechanism": [name for name in MECHANISMS if name != "fixed"],
    "normalizer": list(NORMALIZERS),
    "score": list(SCORES),
    "window": ["global", "local_m"],
    "key_value_heads": [0, 1, 2],
    "query_key_norm": [False, True],
}


def combinations(count):
    """Allowed ones, each with the mechanism and the positions whose turn it is, and the rest at random."""
    choice, found = random.Random(3), []
    while len(found) < count:
        values = {name: choice.choice(options) for name, options in AXES.items()}
        turn = len(found)
        values["mechanism"] = AXES["mechanism"][turn % len(AXES["mechanism"])]
        positions = ["none", *POSITIONS][turn // 2 % (1 + len(POSITIONS))]
        try:
            tiny(width=D, attention=Attention(heads=4, **values), positions=positions).check()
        except UsageError:
            positions = "none"
        try:
            tiny(width=D, attention=Attention(heads=4, **values), positions=positions).check()
        except UsageError:
            continue
        found.append((Attention(heads=4, half_width=1, positions=2, **values), positions))
    return found


CASES = [
    pytest.param(attention, positions, id=str(n), marks=[pytest.mark.slow] * (n >= DEFAULT))
    for n, (attention, positions) in enumerate(combinations(30))
]


@pytest.mark.parametrize(("attention", "positions"), CASES)
def test_a_search_equals_the_whole_and_gradients_are_finite(attention, positions):
    """Two hypotheses of each sentence have a common first token, which the second one wrote, and then part."""
    made = nnx.eval_shape(lambda: MultiHead(attention, D, 0.1, positions=positions, causal=True, rngs=nnx.Rngs(1)))
    graph, shapes = nnx.split(made)
    noise = np.random.default_rng(0)
    parameters = jax.tree.map(lambda p: 0.4 * noise.normal(size=p.shape).astype(np.float32), shapes)
    x = noise.normal(size=(B, N, T, D)).astype(np.float32)
    x[:, 1, 0] = x[:, 0, 0]

    @jax.jit
    def run(parameters, x):
        model = nnx.merge(graph, parameters)
        rows, position = x.reshape(B * N, T, D), jnp.arange(T)[None]

        def whole(parameters):
            model = nnx.merge(graph, parameters)
            keys, values = model.project(rows, position)
            output, weights = model(rows, keys, values, masks.future(T), position, None)
            return jnp.sum(jnp.sin(output)), (output, weights)

        (_, (output, weights)), gradients = jax.value_and_grad(whole, has_aux=True)(parameters)
        past = [of.reshape(B, N, *of.shape[1:]).swapaxes(1, 2) for of in model.project(rows, position)]
        path = None
        if attention.mechanism == "linear":
            past = [of.sum(3)[..., None] for of in past[:1]] + [jnp.einsum("bgntk,bgntv->bgnkv", *past)]
        else:
            writer = jnp.array([[1, 0, 0], [1, 1, 1]])
            path = jnp.broadcast_to(writer[None, :, None] == jnp.arange(N)[None, None, :, None], (B, N, N, T))
        step = model.attend_along_beam(x[:, :, -1], *past, path, jnp.full((B, N), T - 1))
        return step, output[:, -1].reshape(B, N, D), weights[:, :, -1], gradients

    (last, used), output, weights, gradients = run(parameters, x)
    np.testing.assert_allclose(last, output, atol=2e-5)
    if used is not None:
        np.testing.assert_allclose(used.swapaxes(1, 2).reshape(weights.shape), weights, atol=2e-5)
    for path, gradient in jax.tree_util.tree_leaves_with_path(gradients):
        assert np.isfinite(gradient).all(), path
