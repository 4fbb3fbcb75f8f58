import math
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from transformer.attention import scores
from transformer.attention.attend import attend, cudnn_serves, fused, masked_softmax
from transformer.attention.mechanism import Mechanism
from transformer.config import Attention


def loops(query, keys, values, mask, scaled):
    """Vaswani 2017, equation 1, one number at a time."""
    B, H, T, K = query.shape
    S, W = keys.shape[2], values.shape[3]
    context, weights = np.zeros((B, H, T, W)), np.zeros((B, H, T, S))
    for b in range(B):
        for h in range(H):
            for t in range(T):
                energy = {}
                for s in range(S):
                    if mask[b, s]:
                        dot = sum(float(query[b, h, t, k]) * float(keys[b, h, s, k]) for k in range(K))
                        energy[s] = math.exp(dot / math.sqrt(K) if scaled else dot)
                for s, value in energy.items():
                    weights[b, h, t, s] = value / sum(energy.values())
                    context[b, h, t] += weights[b, h, t, s] * values[b, h, s]
    return context, weights


@pytest.mark.parametrize("name", ["dot", "scaled_dot"])
def test_attention_equals_loops(name):
    random = np.random.default_rng(1)
    query, keys = (random.normal(size=(3, 2, n, 4)).astype(np.float32) for n in (5, 6))
    values = random.normal(size=(3, 2, 6, 3)).astype(np.float32)
    mask = np.arange(6)[None] < np.array([6, 4, 1])[:, None]
    context, weights = attend(
        scores.SCORES[name].energies(jnp.asarray(query), jnp.asarray(keys), {}),
        jnp.asarray(values),
        jnp.asarray(mask[:, None, None]),
    )
    expected = loops(query, keys, values, mask, scaled=name == "scaled_dot")
    np.testing.assert_allclose(context, expected[0], atol=1e-5)
    np.testing.assert_allclose(weights, expected[1], atol=1e-5)


def test_rows_that_may_attend_nowhere_are_zeros():
    energies = jnp.array([[1.0, 2.0], [3.0, 4.0]])
    mask = jnp.array([[False, False], [True, False]])
    assert masked_softmax(energies, mask).tolist() == [[0.0, 0.0], [1.0, 0.0]]
    gradient = jax.grad(lambda e: masked_softmax(e, mask).sum())(energies)
    assert np.isfinite(gradient).all()


def test_dropout_falls_on_the_context_and_not_on_the_weights_returned():
    energies, values = jnp.zeros((1, 1, 1, 50)), jnp.ones((1, 1, 50, 1))
    mask = jnp.ones((1, 1, 1, 50), bool)
    context, weights = attend(energies, values, mask, rate=0.5, key=jax.random.key(1))
    np.testing.assert_allclose(weights, 1 / 50, rtol=1e-6)
    assert abs(float(context[0, 0, 0, 0]) - 1.0) > 1e-3


def heads(T=4, S=6, dtype=jnp.float32):
    random = np.random.default_rng(2)
    query, keys, values = (jnp.asarray(random.normal(size=(3, 2, n, 8)), dtype) for n in (T, S, S))
    return query, keys, values


MASKS = {
    "padding, one row empty": (np.arange(6)[None] < np.array([6, 4, 0])[:, None])[:, None, None],
    "causal": np.tril(np.ones((1, 1, 6, 6), bool)),
}


@pytest.mark.parametrize("mask", MASKS)
def test_the_fused_path_is_the_plain_one_with_its_gradients(mask):
    """Here by XLA; for a row that may attend to nothing, both give zeros, and no NaN in the backward pass."""
    allowed, (query, keys, values) = jnp.asarray(MASKS[mask]), heads(T=6)

    def plain(query, keys, values):
        return attend(scores.scaled_dot(query, keys, {}), values, allowed)[0]

    found, pull = jax.vjp(lambda *of: fused(*of, allowed), query, keys, values)
    expected, expected_pull = jax.vjp(plain, query, keys, values)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    for a, b in zip(pull(jnp.cos(found)), expected_pull(jnp.cos(found)), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    if "empty" in mask:
        assert not found[2].any()


A100 = {"platform": "gpu", "compute_capability": "8.0", "client": SimpleNamespace(platform_version="cuda 12080")}


@pytest.mark.parametrize(
    ("device", "dtype", "lengths", "serves"),
    [
        (A100, jnp.bfloat16, (4, 6), True),
        (A100, jnp.float32, (4, 6), False),
        (A100, jnp.bfloat16, (5, 6), False),
        (A100, jnp.bfloat16, (4, 7), False),
        (A100 | {"compute_capability": "7.5"}, jnp.bfloat16, (4, 6), False),
        (A100 | {"client": SimpleNamespace(platform_version="rocm 60000")}, jnp.bfloat16, (4, 6), False),
        ({"platform": "tpu"}, jnp.bfloat16, (4, 6), False),
        ({"platform": "cpu"}, jnp.bfloat16, (4, 6), False),
    ],
)
def test_cudnn_serves_by_device_precision_and_lengths(monkeypatch, device, dtype, lengths, serves):
    asked = []

    def library(query, keys, values, *, mask, implementation):
        asked.append((implementation, mask.shape))
        return query

    monkeypatch.setattr(jax, "devices", lambda: [SimpleNamespace(**device)])
    monkeypatch.setattr(jax.nn, "dot_product_attention", library)
    query, keys, values = heads(*lengths, dtype)
    assert cudnn_serves(query, keys) is serves
    fused(query, keys, values, jnp.ones((3, 1, 1, lengths[1]), bool))
    assert asked == [("cudnn" if serves else "xla", (3, 1, *lengths))], "cuDNN takes no mask of one row for all queries"


@pytest.mark.parametrize(
    ("choice", "weights", "rate", "fuses"),
    [
        ("always", False, 0.0, True),
        ("always", True, 0.0, False),
        ("always", False, 0.1, False),
        ("auto", False, 0.0, False),
        ("never", False, 0.0, False),
    ],
)
def test_when_attention_is_fused(choice, weights, rate, fuses):
    """On a CPU only on request; never if weights are needed or dropped."""
    mechanism = Mechanism(Attention(heads=2, fused=choice), 8, 8, 2, rngs=nnx.Rngs(1))
    allowed, position, lengths = jnp.asarray(MASKS["padding, one row empty"]), jnp.arange(4)[None], jnp.array([6, 4, 0])
    arguments = (*heads(), allowed, position, lengths)
    found, used = mechanism(*arguments, rate=rate, key=jax.random.key(1), weights=weights)
    assert (used is None) is fuses
    if rate == 0:
        np.testing.assert_allclose(found, mechanism(*arguments)[0], atol=1e-6)


def test_other_scores_and_windows_are_never_fused():
    for changes in ({"score": "dot"}, {"window": "local_m"}):
        mechanism = Mechanism(Attention(heads=2, fused="always", **changes), 8, 8, 2, rngs=nnx.Rngs(1))
        allowed, position = jnp.asarray(MASKS["padding, one row empty"]), jnp.arange(4)[None]
        _, used = mechanism(*heads(), allowed, position, jnp.array([6, 4, 0]), weights=False)
        assert used is not None
