"""Every normalizer against NumPy in double precision, written from the papers; gradients against finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from transformer.attention.entmax import entmax
from transformer.attention.mechanism import Mechanism
from transformer.attention.normalizers import NORMALIZERS
from transformer.config import Attention
from transformer.errors import UsageError

LENGTHS = (7, 4, 1, 0)
"""Allowed positions of each row; the last row has none."""
MASK = np.arange(7)[None] < np.array(LENGTHS)[:, None]
PARAMETERS = {"learned_entmax": {"alpha_bias": 0.7}, "learned_null": {"null_bias": -0.6}}
ALPHAS = {"entmax": (1.01, 1.2, 1.5, 1.8, 2.0)}
SMOOTH = [name for name in NORMALIZERS if name != "hard"]
CASES = [(name, alpha) for name in SMOOTH for alpha in ALPHAS.get(name, (1.5,))]


def tsallis(energies, alpha):
    """[(alpha - 1) z - tau]_+^(1 / (alpha - 1)), tau by bisection until it stays."""
    scaled, low, high = (alpha - 1) * energies, None, None

    def weights(tau):
        return np.maximum(scaled - tau, 0) ** (1 / (alpha - 1))

    low, high = scaled.max() - 1, scaled.max()
    while low < (low + high) / 2 < high:
        middle = (low + high) / 2
        low, high = (middle, high) if weights(middle).sum() >= 1 else (low, middle)
    return weights(low)


def reference(name, energies, alpha, parameters):
    """The weights of the allowed energies of one row."""
    exponentials = np.exp(energies)
    if name == "softmax":
        return exponentials / exponentials.sum()
    if name == "sparsemax":  # the support is as large as possible (Martins 2016, algorithm 1)
        for size in range(len(energies), 0, -1):
            largest = sorted(energies)[-size:]
            threshold = (sum(largest) - 1) / size
            if largest[0] > threshold:
                return np.maximum(energies - threshold, 0)
    if name == "entmax":
        return tsallis(energies, alpha)
    if name == "learned_entmax":
        return tsallis(energies, 1.001 + 0.999 / (1 + np.exp(-parameters["alpha_bias"])))
    if name == "sigmoid":
        return 1 / (1 + np.exp(-energies + np.log(len(energies))))
    if name == "hard":
        return np.where(np.arange(len(energies)) == energies.argmax(), 1.0, 0.0)
    assert name in ("null", "learned_null")
    return exponentials / (np.exp(parameters.get("null_bias", 0)) + exponentials.sum())


def rows(name, energies, alpha, parameters):
    found = np.zeros_like(energies)
    for row, length in enumerate(LENGTHS):
        if length:
            found[row, :length] = reference(name, energies[row, :length], alpha, parameters)
    return found


def inputs(name, seed=1, scale=1.5):
    random = np.random.default_rng(seed)
    energies = scale * random.normal(size=MASK.shape)
    energies[1, 1] = energies[1, 0]  # a tie
    return energies, PARAMETERS.get(name, {}), random.normal(size=MASK.shape)


@pytest.mark.parametrize(("name", "alpha"), CASES)
def test_weights_and_gradients_equal_numpy(name, alpha):
    energies, parameters, cotangent = inputs(name)

    def normalize(energies, parameters):
        # Energies that are not allowed are as large as possible, to check that they have no effect.
        hidden = jnp.where(MASK, energies, 1e30)
        return NORMALIZERS[name].normalize(hidden, jnp.asarray(MASK), alpha, parameters)

    plain = jnp.asarray(energies, jnp.float32), {key: jnp.float32(value) for key, value in parameters.items()}
    found, pull = jax.vjp(jax.jit(normalize), *plain)
    np.testing.assert_allclose(found, rows(name, energies, alpha, parameters), atol=1e-5)
    by_energies, by_parameters = pull(jnp.asarray(cotangent, jnp.float32))

    def value(energies, parameters):
        return (rows(name, energies, alpha, parameters) * cotangent).sum()

    step = 1e-6
    for place in np.ndindex(energies.shape):
        nudge = np.zeros_like(energies)
        nudge[place] = step
        difference = value(energies + nudge, parameters) - value(energies - nudge, parameters)
        np.testing.assert_allclose(by_energies[place], difference / (2 * step), atol=2e-5)
    for key in parameters:
        more, less = (value(energies, parameters | {key: parameters[key] + sign * step}) for sign in (1, -1))
        np.testing.assert_allclose(by_parameters[key], (more - less) / (2 * step), atol=2e-5)


@pytest.mark.parametrize("name", NORMALIZERS)
def test_large_and_lonely_energies(name):
    """No overflow, no NaN, forward or backward; a shift of all energies changes nothing where weights sum to one."""
    energies = jnp.array([[1e4, -1e4, 0.0], [-3e38, -3e38, -3e38], [5.0, 5.0, 5.0], [2.0, 1.0, 0.0]])
    mask = jnp.array([[True, True, True], [True, True, True], [False, True, False], [False, False, False]])
    parameters = {key: jnp.float32(value) for key, value in PARAMETERS.get(name, {}).items()}

    def normalize(energies):
        return NORMALIZERS[name].normalize(energies, mask, 1.5, parameters)

    weights, pull = jax.vjp(normalize, energies)
    assert np.isfinite(weights).all()
    assert np.isfinite(pull(jnp.cos(weights))[0]).all()
    assert not weights[3].any()
    assert not weights[2, [0, 2]].any()
    np.testing.assert_allclose(weights[0, :2], [1, 0], atol=1e-6)
    if name not in ("sigmoid", "null", "learned_null"):
        np.testing.assert_allclose(weights[:3].sum(-1), 1, rtol=1e-6)


# Of entmax 1.3 (github.com/deep-spin/entmax) in double precision; `entmax_bisect` with 100 iterations.
ENERGIES = [[-2.0, 0.0, 0.5, 0.4, -0.3], [1.0, 1.0, 1.0, -5.0, 0.9], [0.1, 3.0, 2.6, -1.0, 2.9]]
PUBLISHED = {
    2.0: [[0, 0.033333, 0.533333, 0.433333, 0], [0.275, 0.275, 0.275, 0, 0.175], [0, 0.5, 0.1, 0, 0.4]],
    1.5: [
        [0, 0.158948, 0.420789, 0.358421, 0.061843],
        [0.262176, 0.262176, 0.262176, 0, 0.213473],
        [0, 0.428232, 0.206475, 0, 0.365293],
    ],
    1.33: [
        [0, 0.178005, 0.386564, 0.336053, 0.099378],
        [0.259608, 0.259608, 0.259608, 0, 0.221176],
        [0, 0.412132, 0.228512, 0, 0.359356],
    ],
}
COTANGENT = [1.0, -2.0, 3.0, 0.5, -1.0]
BY_ALPHA = [0.997265, 0.085231, -1.218161]
"""For alphas 1.33, 1.5 and 1.9, one for each row."""
BY_ENERGIES = [
    [0, -0.830848, 1.247978, -0.0678, -0.34933],
    [0.368007, -1.168086, 1.392069, 0, -0.591991],
    [0, -1.74525, 2.543847, 0, -0.798597],
]


@pytest.mark.parametrize("alpha", PUBLISHED)
def test_entmax_equals_the_published_package(alpha):
    energies, mask = jnp.array(ENERGIES), jnp.ones((3, 5), bool)
    for given in (alpha, jnp.float32(alpha)):  # by sorting, by bisection
        weights = entmax(energies, mask, given)
        np.testing.assert_allclose(weights, PUBLISHED[alpha], atol=2e-6)
        np.testing.assert_array_equal(np.asarray(weights) == 0, np.array(PUBLISHED[alpha]) == 0)


def test_gradients_of_entmax_equal_those_of_the_published_package():
    def total(energies, alphas):
        weights = jax.vmap(lambda row, alpha: entmax(row[None], jnp.ones((1, 5), bool), alpha)[0])(energies, alphas)
        return (weights * jnp.array([COTANGENT])).sum()

    by_energies, by_alpha = jax.grad(total, (0, 1))(jnp.array(ENERGIES), jnp.array([1.33, 1.5, 1.9]))
    np.testing.assert_allclose(by_energies, BY_ENERGIES, atol=1e-5)
    np.testing.assert_allclose(by_alpha, BY_ALPHA, atol=1e-5)


def test_an_alpha_near_one_is_almost_softmax():
    """The learned alpha may go there: weights and gradients stay exact."""
    energies, mask = jnp.asarray(inputs("entmax")[0][:1], jnp.float32), jnp.ones((1, 7), bool)
    by_alpha = jax.jacobian(lambda bias: NORMALIZERS["learned_entmax"].normalize(energies, mask, 1.5, bias))
    bias = {"alpha_bias": jnp.float32(-9.0)}  # alpha is 1.0011
    weights = NORMALIZERS["learned_entmax"].normalize(energies, mask, 1.5, bias)
    np.testing.assert_allclose(weights, jax.nn.softmax(energies), atol=1e-3)
    share = 1 / (1 + np.exp(9.0))
    less, exact, more = (tsallis(np.asarray(energies, float)[0], 1.001 + 0.999 * share + d) for d in (-1e-4, 0, 1e-4))
    np.testing.assert_allclose(weights[0], exact, atol=1e-5)
    by_bias = by_alpha(bias)["alpha_bias"][0]
    np.testing.assert_allclose(by_bias / (0.999 * share * (1 - share)), (more - less) / 2e-4, atol=1e-3)


def test_hard_weights_are_those_of_the_largest_energy_with_the_gradient_of_softmax():
    energies, _, cotangent = inputs("hard")
    hard, soft = (
        jax.vjp(lambda e, name=name: NORMALIZERS[name].normalize(e, jnp.asarray(MASK), 1.5, {}), jnp.float32(energies))
        for name in ("hard", "softmax")
    )
    np.testing.assert_array_equal(hard[0], rows("hard", energies, 1.5, {}))
    np.testing.assert_allclose(hard[1](jnp.float32(cotangent))[0], soft[1](jnp.float32(cotangent))[0], atol=1e-6)


def test_hard_attention_is_a_sample_of_softmax_in_training():
    """With a key: 20,000 queries that are equal choose each key as often as its softmax says; without: the largest."""
    mechanism, draws = Mechanism(Attention(score="dot", normalizer="hard"), 1, 1, rngs=nnx.Rngs(1)), 10_000
    keys = jnp.array([[[0.3], [-0.5], [1.1], [5.0]]] * 2)
    arguments = (
        jnp.ones((2, draws, 1)),
        keys,
        keys,
        jnp.array([[[True, True, True, False]]]),
        jnp.zeros((1, draws), int),
    )
    attend = jax.jit(lambda key: mechanism(*arguments, None, key=key)[1])
    one, other = (np.asarray(attend(jax.random.key(seed))) for seed in (1, 2))
    expected = np.exp([0.3, -0.5, 1.1]) / np.exp([0.3, -0.5, 1.1]).sum()
    np.testing.assert_array_equal(one.sum(-1), 1)
    np.testing.assert_allclose(one.mean((0, 1)), [*expected, 0], atol=4 * 0.5 / np.sqrt(2 * draws))
    for same in ((one[0], one[1]), (one, other)):  # independent: both choose the same as often as chance says
        agreed = (same[0] * same[1]).sum(-1).mean()
        assert agreed == pytest.approx((expected**2).sum(), abs=4 * 0.5 / np.sqrt(draws))
    np.testing.assert_array_equal(one, attend(jax.random.key(1)))
    assert set(np.asarray(mechanism(*arguments, None)[1]).argmax(-1).ravel()) == {2}


@pytest.mark.parametrize("name", ["learned_entmax", "learned_null"])
def test_each_head_has_a_parameter_of_its_own(name):
    """With a window's mask for each head, and a score that cannot reach the last position."""
    attention = Attention(score="location", positions=5, window="local_p", half_width=2, normalizer=name, hidden=3)
    mechanism = Mechanism(attention, 4, 6, 3, rngs=nnx.Rngs(1))
    (key,) = mechanism.normalizer_weights
    assert mechanism.normalizer_weights[key].shape == (3,)
    own = np.array([-1.5, 0.0, 1.5], np.float32)
    mechanism.normalizer_weights[key][...] = jnp.asarray(own)
    random = np.random.default_rng(1)
    query, memory = (jnp.asarray(random.normal(size=(2, 3, n, w)), jnp.float32) for n, w in ((5, 4), (6, 6)))
    mask, position, lengths = jnp.arange(6)[None, None, None] < 4, jnp.arange(5)[None], jnp.array([4, 4])
    energies = mechanism._by_head(lambda q, w: q @ w["positions"], mechanism.score_weights, query)
    visible, gain = mechanism._window(query, position, lengths, 5)
    _, weights = mechanism(query, mechanism.project(memory), memory, mask, position, lengths)
    for b, h, t in np.ndindex(2, 3, 5):
        allowed = np.asarray(visible[b, h, t]) & (np.arange(5) < 4)
        expected = np.zeros(6)
        if allowed.any():
            found = reference(name, np.asarray(energies[b, h, t], float)[allowed], 1.5, {key: own[h]})
            expected[:5][allowed] = found * np.asarray(gain[b, h, t])[allowed]
        np.testing.assert_allclose(weights[b, h, t], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"normalizer": "sparse"}, r"--model.attention.normalizer=sparse is unknown: did you mean sparsemax\?"),
        ({"alpha": 1.2}, "alpha=1.2 is for entmax, and .*=softmax has none: give --model.attention.normalizer=entmax"),
        ({"alpha": 1.2, "normalizer": "learned_entmax"}, r"\(learned_entmax learns it\)"),
    ],
)
def test_impossible_combinations_are_refused(changes, message):
    with pytest.raises(UsageError, match=message):
        Attention(**changes).check()
