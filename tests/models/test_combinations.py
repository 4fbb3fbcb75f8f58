"""Settings of a Transformer together: every pair of values that may meet is in the layers of some model.

Each model takes seconds to compile. `tests/attention/test_combinations.py` has attentions by themselves."""

import itertools
import random
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.conftest import tiny
from transformer.attention import masks
from transformer.attention.config import NORMALIZERS, POSITIONS, SCORES, WINDOWS
from transformer.attention.mechanisms import MECHANISMS
from transformer.config import Attention
from transformer.errors import UsageError
from transformer.models.transformer.decoder import DecoderLayer
from transformer.models.transformer.encoder import EncoderLayer

AXES = {
    "mechanism": (*MECHANISMS,),
    "positions": ("sinusoidal", "learned", "none", *POSITIONS),
    "normalizer": (*NORMALIZERS,),
    "score": (*SCORES,),
    "window": (*WINDOWS,),
    "key_value_heads": (0, 1, 2),
    "query_key_norm": (False, True),
    "norm": ("post", "pre"),
    "norm_kind": ("layer", "rms"),
    "activation": ("relu", "gelu", "gelu_exact", "silu", "swiglu"),
    "places": (("encoder", "decoder", "cross"), ("encoder",), ("encoder", "cross"), ("cross",)),
}
B, N, T, S, D = 2, 2, 3, 5, 16
MASK = np.arange(S)[None] < np.array([[5], [2]])


def settings(values):
    """A Transformer of one layer on each side. Raises UsageError where the values do not go together."""
    own = {name: values[name] for name in Attention.__dataclass_fields__ if name in values and name != "positions"}
    rest = {name: values[name] for name in ("positions", "norm", "norm_kind", "activation")}
    attention = Attention(heads=4, half_width=2, **own)
    model = tiny(encoder_layers=1, decoder_layers=1, attention=attention, max_length=8, **rest)
    model.check()
    return model


def allowed(values):
    try:
        settings(values)
    except UsageError:
        return False
    return True


@cache
def covering():
    """Models, one after the other: of a few random ones the one with the most pairs of values that no other has."""
    choice, models, rest = random.Random(1), [], 0
    missing = {
        frozenset(((one, a), (other, b)))
        for one, other in itertools.combinations(AXES, 2)
        for a in AXES[one]
        for b in AXES[other]
    }
    while missing and rest < 20:
        tried = []
        for pair in choice.sample(sorted(missing, key=repr), min(12, len(missing))):
            for _ in range(40):
                values = {name: choice.choice(options) for name, options in AXES.items()} | dict(pair)
                if allowed(values):
                    tried.append((len(missing & pairs(values)), values))
                    break
        best, values = max(tried, key=lambda one: one[0], default=(0, None))
        rest = rest + 1 if not best else 0
        if best:
            models.append(values)
            missing -= pairs(values)
    return models


def pairs(values):
    return {frozenset(two) for two in itertools.combinations(values.items(), 2)}


def layers(model):
    """A layer of each side, their parameters drawn by NumPy, which compiles nothing."""
    made = nnx.eval_shape(lambda: (EncoderLayer(model, rngs=nnx.Rngs(1)), DecoderLayer(model, rngs=nnx.Rngs(1))))
    graph, shapes = nnx.split(made)
    noise = np.random.default_rng(0)
    return graph, jax.tree.map(lambda p: noise.normal(size=p.shape).astype(np.float32) * 0.4, shapes)


def run(model, graph, parameters, source, target):
    """What must be equal, and the gradients of a loss with dropout.

    Two hypotheses of each sentence have a common first token, which the second one wrote, and tokens of their own.
    """
    encoder, decoder = nnx.merge(graph, parameters)
    mask, future = jnp.asarray(MASK)[:, None, None], masks.future(T)
    memory, _ = encoder(source, mask, None)
    twice = jnp.repeat(memory, N, 0), jnp.repeat(mask, N, 0)
    hidden, (_, used) = decoder(target.reshape(B * N, T, D), *twice, future, None)
    attention = decoder.attention
    inputs = decoder.attention_residual.enter(target.reshape(B * N, T, D)).reshape(target.shape)
    past = jax.eval_shape(attention.project, target[:, 0], jnp.arange(T)[None])
    cache = attention.mechanism.room(*past, N)
    for t in range(T - 1):
        cache = attention.mechanism.remember(
            cache, attention.project(inputs[:, :, t], jnp.full((B, N), t)), jnp.full(B, t)
        )
    path = None
    if model.attention_of("decoder").mechanism != "linear":
        writer = jnp.array([[1, 0, 0], [1, 1, 1]])
        path = jnp.broadcast_to(writer[None, :, None] == jnp.arange(N)[None, None, :, None], (B, N, N, T))
    last, _, (_, cross) = decoder.step(
        target[:, :, -1], decoder.cross.project(memory), mask, cache, path, jnp.full(B, T - 1)
    )
    whole, weights = hidden[:, -1].reshape(last.shape), used[:, :, -1].reshape(cross.shape)

    def loss(parameters):
        encoder, decoder = nnx.merge(graph, parameters)
        memory, _ = encoder(source, mask, jax.random.key(1), weights=False)
        hidden, _ = decoder(target[:, 0], memory, mask, future, jax.random.key(2), weights=False)
        return jnp.sum(jnp.sin(hidden))

    total, gradients = jax.value_and_grad(loss)(parameters)
    finite = jnp.isfinite(total) & jnp.stack([jnp.isfinite(g).all() for g in jax.tree.leaves(gradients)]).all()
    return (last, whole), (cross, weights), finite


def check(values):
    model = settings(values)
    graph, parameters = layers(model)
    noise = np.random.default_rng(1)
    source, target = (jnp.asarray(noise.normal(size=shape), jnp.float32) for shape in ((B, S, D), (B, N, T, D)))
    target = target.at[:, :, 0].set(target[:, :1, 0])
    program = jax.jit(lambda parameters: run(model, graph, parameters, source, target))
    (last, whole), (cross, weights), finite = program(parameters)
    np.testing.assert_allclose(last, whole, atol=2e-5)
    np.testing.assert_allclose(cross, weights, atol=2e-5)
    assert finite


@pytest.mark.slow
@pytest.mark.parametrize("number", range(100))
def test_steps_equal_the_whole_and_gradients_are_finite(number):
    if number < len(covering()):
        check(covering()[number])


@pytest.mark.slow
def test_every_pair_that_may_meet_is_in_a_model():
    """A hundred random models that are allowed have no pair of values that is in none of the list."""
    seen = set().union(*map(pairs, covering()))
    choice, found = random.Random(2), 0
    while found < 100:
        values = {axis: choice.choice(options) for axis, options in AXES.items()}
        if allowed(values):
            found += 1
            assert pairs(values) <= seen
