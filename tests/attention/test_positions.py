"""Relative positions against loops over single distances, from the papers and not from the code."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.conftest import tiny
from transformer.attention.positions import POSITIONS, _buckets, slopes
from transformer.config import Attention
from transformer.errors import UsageError


def bucket(distance, causal):
    """Raffel 2020, section 2.1: 32 buckets, half of them exact, the others logarithmic up to 128."""
    number, first = (32, 0) if causal else (16, 16 if distance > 0 else 0)
    away = float(-min(distance, 0) if causal else abs(distance))
    if away < number // 2:
        return first + int(away)
    exact, grown = number // 2, number // 2
    while grown + 1 < number and away**number >= exact**number * (128 / exact) ** (
        number * (grown + 1 - exact) / (number - exact)
    ) * (1 - 1e-9):
        grown += 1
    return first + grown


def turned(x, position):
    """Su 2021, equation 14: each pair as a complex number, times e^(i t theta)."""
    K = len(x)
    out = np.zeros(K)
    for i in range(K // 2):
        number = complex(x[2 * i], x[2 * i + 1]) * np.exp(1j * position * 10000 ** (-2 * i / K))
        out[2 * i], out[2 * i + 1] = number.real, number.imag
    return out


def energies(scheme, query, keys, t, plain, weights, head, heads, causal):
    """The energies of the query at position t with all keys, given those without positions."""
    K, found = len(query), np.array(plain)
    for s in range(len(keys)):
        if scheme == "rotary":
            scale = found[s] / (query @ keys[s])
            found[s] = turned(query, t) @ turned(keys[s], s) * scale
        elif scheme == "shaw":
            found[s] += query @ weights["distances"][min(max(s - t, -16), 16) + 16] / np.sqrt(K)
        elif scheme == "t5":
            found[s] += weights["buckets"][head, bucket(s - t, causal)]
        else:
            found[s] -= 2 ** (-8 * (head + 1) / heads) * abs(s - t)
    return found


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("scheme", POSITIONS)
def test_energies_equal_a_loop(scheme, causal):
    """Beyond the distances that Shaw's vectors and T5's buckets distinguish; queries do not start at 0."""
    random, B, H, T, S, K = np.random.default_rng(1), 2, 4, 3, 150, 6
    query, keys = random.normal(size=(B, H, T, K)), random.normal(size=(B, H, S, K))
    position = np.array([[0, 7, 149], [3, 40, 70]])
    own = POSITIONS[scheme]
    weights = {name: start(jax.random.key(0)) for name, start in own.weights(H, K).items()}
    products = np.einsum("bhtk,bhsk->bhts", query, keys)
    if own.turn is not None:
        q = own.turn(jnp.asarray(query, jnp.float32), jnp.asarray(position))
        k = own.turn(jnp.asarray(keys, jnp.float32), jnp.arange(S)[None])
        found = jnp.einsum("bhtk,bhsk->bhts", q, k)
    else:
        distance = jnp.arange(S)[None, None] - jnp.asarray(position)[..., None]
        found = products + own.bias(jnp.asarray(query, jnp.float32), distance, weights, causal)
    given = jax.tree.map(np.asarray, weights)
    for b in range(B):
        for h in range(H):
            for t in range(T):
                at = query[b, h, t], keys[b, h], position[b, t], products[b, h, t]
                expected = energies(scheme, *at, given, h, H, causal)
                np.testing.assert_allclose(found[b, h, t], expected, atol=2e-4)


def test_buckets_of_t5():
    """Numbers of `T5Attention._relative_position_bucket` in transformers 5.24."""
    at = lambda causal, *distances: [int(_buckets(causal)[d + 128]) for d in distances]  # noqa: E731
    assert at(False, 0, -1, -7, -8, -12, -16, -32, -64, -127, 1, 8, 127) == [0, 1, 7, 8, 9, 10, 12, 14, 15, 17, 24, 31]
    assert at(True, 0, -1, -15, -16, -20, -128, 1, 100) == [0, 1, 15, 16, 17, 31, 0, 0]


def test_slopes_by_hand():
    np.testing.assert_allclose(slopes(8), [2.0**-n for n in range(1, 9)])
    np.testing.assert_allclose(slopes(3), [2.0**-4, 2.0**-8, 2.0**-2])
    assert math.isclose(slopes(1)[0], 2.0**-8)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"positions": "rotery"}, "--model.positions=rotery is unknown: did you mean rotary"),
        ({"positions": "rotary", "attention": Attention(heads=2, score="additive")}, "is no product: .*=alibi"),
        ({"positions": "rotary", "width": 6}, "a head is 3 wide"),
        (
            {"positions": "t5", "attention": Attention(heads=2, fused="always"), "attention_dropout": 0.0},
            "--model.positions=rotary",
        ),
    ],
)
def test_incompatible_options(changes, message):
    with pytest.raises(UsageError, match=message):
        tiny(**changes).check()
