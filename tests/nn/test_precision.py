"""bfloat16 compared with float32: how much they differ, and which of them each part of an update uses."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend import core

from tests.conftest import tiny
from tests.training.test_loop import NOTHING, make_batch, with_training
from transformer import config
from transformer.config import Attention, Rnn
from transformer.distributed import sharding as parallel
from transformer.models.build import builder, create, split, structure
from transformer.nn.precision import summed
from transformer.tasks.translation.loss import TranslationLoss
from transformer.training import optimizer as optim
from transformer.training import step as update

BRIDGE = {"transformer": 0, "luong": 2 * 3, "bahdanau": 3}
"""Products between the recurrent states of encoder and decoder: of each leaf one, and two for its gradient."""
MODELS = {
    "transformer": tiny(encoder_layers=1, decoder_layers=1, dropout=0.1),
    "luong": Rnn(embedding=16, width=16, encoder_width=8, bidirectional=True, attention=Attention(score="general")),
    "bahdanau": Rnn(decoder="bahdanau", cell="gru", embedding=16, width=16, attention=Attention(score="additive")),
}


@pytest.fixture(
    params=["bahdanau", *(pytest.param(name, marks=pytest.mark.slow) for name in ("transformer", "luong"))],
    scope="module",
)
def trained(request):
    """For each precision: the step as a function, its first state, and 30 updates: (losses, gradients of the first)."""
    model = MODELS[request.param]
    _, parameters = split(create(model, 13, 13, 1))
    optimizer = optim.optimizer(config.Optimizer(name="sgd", clip=0.0), lambda _: 0.5)
    mesh = parallel.make_mesh(config.Mesh(data=1))
    batch, found = make_batch(16), {"bridge": BRIDGE[request.param]}
    for precision in ("float32", "bfloat16"):
        settings = with_training(config.Config(model=model), precision=precision, loss_chunk=32)
        graph = structure(model, 13, 13, precision=precision)
        step = update.make_step(graph, TranslationLoss.of(settings), optimizer, settings, mesh)
        state = {"step": jnp.int32(0), "parameters": parameters, "optimizer": optimizer.init(parameters)}
        traced, losses = jax.jit(step).trace(state, batch, NOTHING), []
        program = traced.lower().compile()
        gradients = None
        for _ in range(30):
            state, metrics = program(state, batch, NOTHING)
            losses.append(float(metrics.values()["loss"]))
            gradients = gradients or jax.tree.map(
                lambda old, new: np.asarray(old - new) / 0.5, parameters, state["parameters"]
            )
        found[precision] = (traced.jaxpr, state, losses, gradients)
    return found


def flat(tree):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])


def test_loss_and_gradients_are_those_of_float32(trained):
    """Within 0.5% of the loss, and 10% of the gradient's norm: bfloat16 has 8 bits, so a rounding is up to 0.4% off."""
    (_, _, expected, exact), (_, _, losses, rough) = trained["float32"], trained["bfloat16"]
    np.testing.assert_allclose(losses[0], expected[0], rtol=5e-3)
    assert losses[0] != expected[0], "it is not float32"
    assert np.linalg.norm(flat(rough) - flat(exact)) < 0.1 * np.linalg.norm(flat(exact))


def test_losses_fall_alike(trained):
    """30 updates on one batch: each has lost as much, within a tenth of it."""
    lost = [losses[0] - losses[-1] for _, _, losses, _ in (trained["float32"], trained["bfloat16"])]
    assert lost[0] > 0.3
    np.testing.assert_allclose(lost[1], lost[0], rtol=0.1)


def operations(jaxpr):
    """All of a program, those of its inner programs too."""
    for equation in jaxpr.eqns:
        yield equation
        for inner in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda x: hasattr(x, "eqns")):
            inner = inner.jaxpr if isinstance(inner, core.ClosedJaxpr) else inner
            if hasattr(inner, "eqns"):
                yield from operations(inner)


def kinds(equation):
    return {x.aval.dtype for x in equation.invars if hasattr(x.aval, "dtype")}


def terms(equation):
    """How many numbers become one: the pairs of a maxout and axes of one element are no sums."""
    if "axes" not in equation.params:
        return np.inf
    return np.prod([equation.invars[0].aval.shape[axis] for axis in equation.params["axes"]])


def test_matrices_are_multiplied_in_bfloat16_and_what_is_summed_is_float32(trained):
    program, state, _, _ = trained["bfloat16"]
    assert {leaf.dtype for leaf in jax.tree.leaves(state["parameters"])} == {jnp.dtype("float32")}
    every = list(operations(program.jaxpr))
    products = [kinds(one) for one in every if one.primitive.name == "dot_general"]
    rough = [one for one in products if one == {jnp.dtype("bfloat16")}]
    assert not [one for one in products if len(one) > 1], "no product mixes both"
    assert len(products) - len(rough) == trained["bridge"], "all but the bridge between recurrent states"
    assert len(rough) > 20
    for name in ("reduce_sum", "reduce_max", "exp", "log", "cumsum", "scatter-add"):
        found = [one for one in every if one.primitive.name == name and jnp.dtype("bfloat16") in kinds(one)]
        assert not [one for one in found if terms(one) > 2], f"{name} in bfloat16"


def test_in_float32_there_is_no_bfloat16_and_no_cast_between_floats(trained):
    program, _, _, _ = trained["float32"]
    assert "bf16" not in str(program)
    casts = [one for one in operations(program.jaxpr) if one.primitive.name == "convert_element_type"]
    assert not [one for one in casts if one.params["new_dtype"] == jnp.float32 and jnp.dtype("float32") in kinds(one)]


def test_a_sum_over_many_products_does_not_stop_growing():
    """In bfloat16 256 + 1 is 256. The gradient's products are bfloat16 again."""
    ones = jnp.ones((1, 1000), jnp.bfloat16)
    assert float(summed(jnp.matmul, ones, ones.T)[0, 0]) == 1000
    by = jax.grad(lambda x, y: summed(jnp.matmul, x, y).sum(), (0, 1))(ones, 2 * ones.T)
    assert [g.dtype for g in by] == [jnp.bfloat16] * 2
    assert float(by[0][0, 0]) == 2


def test_validation_and_search_stay_float32():
    """An update in bfloat16 leaves the float32 model of the same parameters unchanged."""
    model = MODELS["transformer"]
    graph, parameters = split(create(model, 13, 13, 1))
    before = str(jax.make_jaxpr(lambda p: builder(graph)(p).encode(make_batch(2).source).states)(parameters))
    settings = with_training(dataclasses.replace(config.Config(), model=model), precision="bfloat16")
    optimizer = optim.optimizer(settings.optimizer, lambda _: 1e-3)
    mesh, rough = parallel.make_mesh(config.Mesh(data=1)), structure(model, 13, 13, precision="bfloat16")
    step = update.make_step(rough, TranslationLoss.of(settings), optimizer, settings, mesh)
    state = {"step": jnp.int32(0), "parameters": parameters, "optimizer": optimizer.init(parameters)}
    assert "bf16" in str(jax.make_jaxpr(step)(state, make_batch(2), NOTHING))
    after = str(jax.make_jaxpr(lambda p: builder(graph)(p).encode(make_batch(2).source).states)(parameters))
    assert "bf16" not in after
    assert after == before
