import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.conftest import tiny
from transformer import check, config
from transformer.errors import UsageError
from transformer.models.build import create, split
from transformer.training import optimizer as optim


def rates(name, steps=200, **changes):
    rate = optim.schedule(config.Schedule(name=name, warmup=20, **changes), 128, steps)
    return np.array([float(rate(i)) for i in range(steps)])


def test_every_schedule_climbs_linearly_to_its_peak():
    for name in ("inverse_sqrt", "cosine", "constant"):
        np.testing.assert_allclose(rates(name, peak=0.5)[:20], 0.5 * np.arange(1, 21) / 20, rtol=1e-6)


def test_noam_is_the_papers_equation_3():
    step = np.arange(1, 201)
    expected = 128**-0.5 * np.minimum(step**-0.5, step * 20**-1.5)
    np.testing.assert_allclose(rates("noam", peak=1.0), expected, rtol=1e-5)


def test_inverse_sqrt_halves_at_four_times_the_warmup():
    found = rates("inverse_sqrt", peak=0.5)
    np.testing.assert_allclose(found[79], 0.25, rtol=1e-6)


def test_cosine_equals_optax():
    theirs = optax.warmup_cosine_decay_schedule(0, 0.5, 20, 200, 0.005)
    expected = [float(theirs(i)) for i in range(1, 201)]
    np.testing.assert_allclose(rates("cosine", peak=0.5, final=0.01), expected, rtol=1e-4)


def test_constant_stays():
    assert set(rates("constant", peak=0.5)[19:].tolist()) == {0.5}


def test_halving_is_luongs():
    """The peak for 30 updates, then half of it for 10, a quarter for 10, ...: with or without warm-up."""
    expected, rate = [], 1.0
    for update in range(1, 201):
        if update > 30 and (update - 31) % 10 == 0:
            rate /= 2
        expected.append(rate)
    halving = optim.schedule(config.Schedule("halving", peak=1.0, warmup=0, hold=30, every=10), 128, 200)
    np.testing.assert_allclose([float(halving(i)) for i in range(200)], expected, rtol=1e-5)
    warm = rates("halving", peak=1.0, hold=30, every=10)
    np.testing.assert_allclose(warm[:20], np.arange(1, 21) / 20, rtol=1e-6)
    np.testing.assert_allclose(warm[20:], expected[20:], rtol=1e-5)


@pytest.mark.parametrize("name", ["constant", "halving", "cosine"])
def test_without_warmup_the_first_update_has_the_peak(name):
    rate = optim.schedule(config.Schedule(name, peak=0.5, warmup=0), 128, 100_000)
    np.testing.assert_allclose([float(rate(0)), float(rate(1))], 0.5, rtol=1e-6)


def follow(settings, gradients, rate=1.0):
    """One number, from 1.0, along the gradients."""
    optimizer = optim.optimizer(settings, lambda _: rate)
    x, state = jnp.float32(1.0), optimizer.init(jnp.float32(1.0))
    for gradient in gradients:
        update, state = optimizer.update(jnp.float32(gradient), state, x)
        x = optax.apply_updates(x, update)
    return float(x)


def test_sgd_by_hand():
    """Clipped at 5 (Luong 2015), and nothing else: no momentum."""
    found = follow(config.Optimizer(name="sgd", clip=5.0), (0.3, -20.0, 1.0), rate=0.5)
    np.testing.assert_allclose(found, 1.0 - 0.5 * (0.3 - 5.0 + 1.0), rtol=1e-6)


def test_adadelta_by_hand():
    """Zeiler 2012, algorithm 1, with Bahdanau 2015's constants."""
    x, squares, updates = 1.0, 0.0, 0.0
    for gradient in (0.3, -0.7, 0.2, 0.2):
        squares = 0.95 * squares + 0.05 * gradient**2
        update = -np.sqrt(updates + 1e-6) / np.sqrt(squares + 1e-6) * gradient
        updates = 0.95 * updates + 0.05 * update**2
        x += update
    found = follow(config.Optimizer(name="adadelta", clip=0.0), (0.3, -0.7, 0.2, 0.2))
    np.testing.assert_allclose(found - 1, x - 1, rtol=1e-4)


def gradients_like(parameters, scale):
    return jax.tree.map(lambda p: jnp.full_like(p, scale), parameters)


def test_adam_by_hand():
    """Kingma and Ba 2015, algorithm 1, two updates of one number."""
    settings = config.Optimizer(b1=0.9, b2=0.98, epsilon=1e-9, clip=0.0)
    optimizer = optim.optimizer(settings, lambda _: 0.1)
    x, state = jnp.float32(1.0), optimizer.init(jnp.float32(1.0))
    expected, m, v = 1.0, 0.0, 0.0
    for t, gradient in enumerate((0.3, -0.7), 1):
        m, v = 0.9 * m + 0.1 * gradient, 0.98 * v + 0.02 * gradient**2
        expected -= 0.1 * (m / (1 - 0.9**t)) / ((v / (1 - 0.98**t)) ** 0.5 + 1e-9)
        update, state = optimizer.update(jnp.float32(gradient), state, x)
        x = optax.apply_updates(x, update)
    np.testing.assert_allclose(x, expected, rtol=1e-5)


@pytest.mark.parametrize("scale", [1e-3, 10.0])
def test_clipping_bounds_the_global_norm(scale):
    """Seen through Adam's first moment, which is linear in the gradient."""
    parameters = {"a": jnp.zeros(3), "b": jnp.zeros((2, 2))}
    optimizer = optim.optimizer(config.Optimizer(clip=1.0), lambda _: 1.0)
    _, state = optimizer.update(gradients_like(parameters, scale), optimizer.init(parameters), parameters)
    moments = next(s.mu for s in state if hasattr(s, "mu"))
    norm = np.sqrt(sum(float((m**2).sum()) for m in jax.tree.leaves(moments))) / 0.1
    np.testing.assert_allclose(norm, min(1.0, scale * np.sqrt(7)), rtol=1e-5)


def test_weight_decay_spares_biases_and_norms():
    _, parameters = split(create(tiny(activation="swiglu", positions="learned"), 13, 13, 1))
    parameters = jax.tree.map(jnp.ones_like, parameters)
    optimizer = optim.optimizer(config.Optimizer(name="adamw", weight_decay=0.5, clip=0.0), lambda _: 1.0)
    updates, _ = optimizer.update(gradients_like(parameters, 0.0), optimizer.init(parameters), parameters)
    for path, update in jax.tree_util.tree_leaves_with_path(updates):
        name = path[-1].key
        spared = "bias" in name or name == "scale"
        assert float(jnp.abs(update).max()) == (0.0 if spared else 0.5), jax.tree_util.keystr(path)


def test_muon_moves_the_matrices_of_every_layer_by_orthogonal_ones():
    """Against the singular value decomposition: directions are the gradient's, and the Newton-Schulz iteration of five
    steps brings singular values near 1 (Jordan 2024). Heads of a layer are one matrix, layers are apart."""
    _, shapes = split(create(tiny(attention=config.Attention(heads=2)), 13, 13, 1))
    random = np.random.default_rng(1)
    gradients = jax.tree.map(lambda p: jnp.asarray(random.normal(size=p.shape), jnp.float32), shapes)
    optimizer = optim.optimizer(config.Optimizer(name="muon", clip=0.0, epsilon=1e-9), lambda _: 1.0)
    update, _ = optimizer.update(gradients, optimizer.init(shapes), shapes)
    found, given = (
        {"/".join(str(part.key) for part in path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}
        for tree in (update, gradients)
    )
    for name, rows in (
        ("encoder/attention/query", 16),
        ("decoder/cross/output", 16),
        ("decoder/feedforward/inner", 16),
        ("decoder/feedforward/outer", 24),
    ):
        for layer in range(2):
            matrix = np.asarray(found[name][layer], float).reshape(rows, -1)
            own = np.asarray(given[name][layer], float).reshape(rows, -1)
            left, _, right = np.linalg.svd(own, full_matrices=False)
            values, size = np.diag(left.T @ matrix @ right.T), 0.2 * np.sqrt(max(matrix.shape))
            assert 0.5 < -values.max() / size < -values.min() / size < 1.3, name
            np.testing.assert_allclose((left * values) @ right, matrix, atol=2e-3)
    for name in ("embed_source/table", "encoder/attention_residual/norm/scale"):  # by Adam's first update
        np.testing.assert_allclose(np.abs(found[name]), 0.9 * 0.1 / (1 - 0.9**2) + 1, rtol=1e-3)


def test_schedule_free_by_hand():
    """Defazio 2024, algorithm 1, with AdamW: gradients at y, steps of z, x the mean of all z; the rate is constant."""
    settings = config.Optimizer(name="schedule_free", b1=0.9, b2=0.98, epsilon=1e-9, clip=0.0)
    optimizer = optim.optimizer(settings, lambda _: 0.1)
    y, state = jnp.float32(1.0), optimizer.init(jnp.float32(1.0))
    x, z, v = 1.0, 1.0, 0.0
    for t in range(1, 6):
        gradient = 2 * (0.1 * z + 0.9 * x) - 1  # of y^2 - y
        np.testing.assert_allclose(y, 0.1 * z + 0.9 * x, rtol=1e-5)
        update, state = optimizer.update(2 * y - 1, state, y)
        y = optax.apply_updates(y, update)
        v = 0.98 * v + 0.02 * gradient**2
        z -= 0.1 * gradient / (np.sqrt(v / (1 - 0.98**t)) + 1e-9)
        x += (z - x) / t
        np.testing.assert_allclose(optim.average_of(state, y), x, rtol=1e-4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": config.Optimizer(name="schedule_free")}, r"in place of a falling rate: give .*=constant"),
        ({"training": config.Training(ema=0.9)}, r"average of its own: give --training.ema=0"),
        (
            {"training": config.Training(average="last", keep_last=2)},
            r"of its own: give --training.average=none",
        ),
        ({"optimizer": config.Optimizer(name="schedule_free", b1=0.0)}, r"b1=0: .* above 0, such as 0.9"),
        ({"optimizer": config.Optimizer(name="muon"), "model": config.Rnn()}, r"matrices of a Transformer's layers"),
    ],
)
def test_what_does_not_go_with_an_optimizer(settings, changes, message):
    """All but the first have a constant rate."""
    rate = config.Schedule("constant") if changes.get("optimizer") != config.Optimizer(name="schedule_free") else None
    values = {"optimizer": config.Optimizer(name="schedule_free"), "schedule": rate or settings.schedule} | changes
    with pytest.raises(UsageError, match=message):
        check.everything(dataclasses.replace(settings, **values))
