"""Every mechanism against loops over sentences, heads and positions, from the papers and not from the code."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.conftest import tiny
from transformer.attention import masks
from transformer.attention.changed import Changed
from transformer.attention.fixed import patterns
from transformer.attention.multihead import MultiHead
from transformer.config import Attention, Rnn
from transformer.errors import UsageError

B, H, T, S, D = 3, 4, 5, 6, 16
LENGTHS = (6, 3, 1)
MASK = np.arange(S)[None] < np.array(LENGTHS)[:, None]


def softmax(energies):
    exponentials = np.exp(energies - energies.max())
    return exponentials / exponentials.sum()


def loud(attention):
    """Fresh matrices of mixes and norms are identities, which would hide a missing one."""
    graph, parameters = nnx.split(attention)
    random = np.random.default_rng(7)
    return nnx.merge(
        graph, jax.tree.map(lambda p: p + 0.2 * random.normal(size=p.shape).astype(np.float32), parameters)
    )


def arrays(attention):
    return jax.tree.map(lambda p: np.asarray(p, float), nnx.to_pure_dict(nnx.state(attention)))


def talking(p, x, memory, length):
    """Shazeer 2020, section 3, over one sentence without padding: weights [H, T, S], and the output [T, D]."""
    K, energies = D // H, np.zeros((H, len(x), length))
    for h in range(H):
        for t in range(len(x)):
            for s in range(length):
                energies[h, t, s] = (x[t] @ p["query"][:, h]) @ (memory[s] @ p["key"][:, h]) / np.sqrt(K)
    weights = np.zeros_like(energies)
    for t in range(len(x)):
        normalized = [
            softmax(sum(energies[h, t] * p["mechanism"]["mix_energies"][h, g] for h in range(H))) for g in range(H)
        ]
        for g in range(H):
            weights[g, t] = sum(normalized[h] * p["mechanism"]["mix_weights"][h, g] for h in range(H))
    output = sum(weights[h] @ (memory[:length] @ p["value"][:, h]) @ p["output"][h] for h in range(H))
    return weights, output


def differential(p, x, memory, length):
    """Ye 2024, equations 1 to 3, likewise; head h has the queries, keys and values h and H + h."""
    V, own = D // H // 2, p["mechanism"]
    first, second, third, fourth = own["vectors"]
    share = np.exp(first @ second) - np.exp(third @ fourth) + 0.8
    weights, output = np.zeros((H, len(x), length)), np.zeros((len(x), D))
    for h in range(H):
        for t in range(len(x)):
            one, two = (
                softmax(np.array([(x[t] @ p["query"][:, n]) @ (m @ p["key"][:, n]) for m in memory[:length]]) / V**0.5)
                for n in (h, H + h)
            )
            weights[h, t] = one - share * two
            context = np.concatenate([weights[h, t] @ memory[:length] @ p["value"][:, n] for n in (h, H + h)])
            context = 0.2 * context / np.sqrt((context**2).mean() + 1e-5) * own["scale"].reshape(-1)
            output[t] += context @ np.concatenate([p["output"][h], p["output"][H + h]])
    return weights, output


def linear(p, x, memory, length):
    """Katharopoulos 2020, equations 4 and 7, likewise."""
    phi = lambda v: np.where(v > 0, v + 1, np.exp(v))  # noqa: E731
    weights, output = np.zeros((H, len(x), length)), np.zeros((len(x), D))
    for h in range(H):
        for t in range(len(x)):
            products = [phi(x[t] @ p["query"][:, h]) @ phi(memory[s] @ p["key"][:, h]) for s in range(length)]
            weights[h, t] = np.array(products) / sum(products)
            output[t] += weights[h, t] @ memory[:length] @ p["value"][:, h] @ p["output"][h]
    return weights, output


LOOPS = {"talking": talking, "differential": differential, "linear": linear}


def inputs():
    random = np.random.default_rng(1)
    return (jnp.asarray(random.normal(size=(B, n, D)), jnp.float32) for n in (T, S))


@pytest.mark.parametrize("name", LOOPS)
def test_weights_and_output_equal_a_loop(name):
    """With padding and several lengths in the batch."""
    attention = loud(MultiHead(Attention(heads=H, mechanism=name), D, 0.0, rngs=nnx.Rngs(1)))
    x, memory = inputs()
    output, weights = attention(
        x, *attention.project(memory), jnp.asarray(MASK)[:, None, None], jnp.arange(T)[None], jnp.array(LENGTHS)
    )
    parameters = arrays(attention)
    for row, length in enumerate(LENGTHS):
        expected, context = LOOPS[name](parameters, np.asarray(x[row], float), np.asarray(memory[row], float), length)
        np.testing.assert_allclose(weights[row, :, :, :length], expected, atol=1e-5)
        np.testing.assert_allclose(output[row], context, atol=1e-5)
        assert not weights[row, :, :, length:].any(), "padding gets no weight"
    same, _ = attention(
        x, *attention.project(memory), jnp.asarray(MASK)[:, None, None], jnp.arange(T)[None], None, weights=False
    )
    np.testing.assert_allclose(same, output, atol=1e-5)


@pytest.mark.parametrize("shared", [pytest.param(0, marks=pytest.mark.slow), 2])
@pytest.mark.parametrize("name", ["talking", "differential"])
def test_a_search_computes_the_same(name, shared):
    """One hypothesis a sentence, token by token, equals all positions at once; also with shared keys and positions."""
    settings = Attention(heads=H, mechanism=name, key_value_heads=shared)
    attention = loud(MultiHead(settings, D, 0.0, positions="t5", causal=True, rngs=nnx.Rngs(1)))
    x, _ = inputs()
    keys, values = attention.project(x, jnp.arange(T)[None])
    whole, weights = attention(x, keys, values, masks.future(T), jnp.arange(T)[None], None)
    path = jnp.ones((B, 1, 1, T), bool)
    step = jax.jit(
        lambda x, t: attention.attend_along_beam(x, keys[:, :, None], values[:, :, None], path, jnp.full((B, 1), t))
    )
    for t in range(T):
        output, used = step(x[:, t : t + 1], t)
        np.testing.assert_allclose(output[:, 0], whole[:, t], atol=1e-5)
        np.testing.assert_allclose(used[:, :, 0], weights[:, :, t], atol=1e-5)


@pytest.mark.parametrize("shared", [pytest.param(0, marks=pytest.mark.slow), 2])
def test_a_search_of_linear_attention_keeps_sums(shared):
    """Two hypotheses a sentence, each token by token, equal all positions at once; the past has one size."""
    settings = Attention(heads=H, mechanism="linear", key_value_heads=shared)
    attention = loud(MultiHead(settings, D, 0.0, rngs=nnx.Rngs(1)))
    x = jnp.asarray(np.random.default_rng(2).normal(size=(B, 2, T, D)), jnp.float32)
    position = jnp.arange(T)[None]
    whole = [attention(x[:, n], *attention.project(x[:, n]), masks.future(T), position, None)[0] for n in range(2)]
    kept = attention.mechanism.room(*attention.project(x[:, 0]), 2)
    assert [sums.shape for sums in kept] == [(B, shared or H, 2, 4, 1), (B, shared or H, 2, 4, 4)]
    for t in range(T):
        kept = attention.mechanism.remember(kept, attention.project(x[:, :, t]), jnp.full(B, t))
        output, weights = attention.attend_along_beam(x[:, :, t], *kept, None, jnp.full((B, 2), t))
        assert weights is None
        for n in range(2):
            np.testing.assert_allclose(output[:, n], whole[n][:, t], atol=1e-5)


def test_patterns_of_fixed_heads_by_hand():
    """A sentence of five tokens with a padded one of two, two sentences in one row, and a learned head."""
    lengths = jnp.array([[True] * 5, [True] * 2 + [False] * 3])
    found = patterns(jnp.broadcast_to(lengths[:, None, None], (2, 1, 5, 5)))
    third = [[1, 0, 0, 0, 0], [1, 0, 0, 0, 0], [0, 1, 0, 0, 0]]
    np.testing.assert_allclose(found[0, 0, 2], [0, 0, 1, 0, 0])
    np.testing.assert_allclose(found[0, 1, :3], third)
    np.testing.assert_allclose(found[0, 2, 3:], [[0, 0, 0, 0, 1], [0, 0, 0, 0, 1]])
    np.testing.assert_allclose(found[0, 3, 4], np.array([1, 8, 27, 0, 0]) / 36, rtol=1e-6)
    np.testing.assert_allclose(found[0, 3, 1], [0, 1, 0, 0, 0])
    np.testing.assert_allclose(found[0, 4, 0], np.array([0, 0, 27, 8, 1]) / 36, rtol=1e-6)
    np.testing.assert_allclose(found[0, 5, 2], np.array([1, 8, 27, 64, 125]) / 225, rtol=1e-6)
    np.testing.assert_allclose(found[1, 6, 1], np.array([8, 1, 0, 0, 0]) / 9, rtol=1e-6)
    np.testing.assert_allclose(found[:, :, :2].sum(-1), 1, rtol=1e-6)
    packed = patterns(masks.same_segment(jnp.array([[1, 1, 2, 2, 2]]), jnp.array([[1, 1, 2, 2, 2]])))
    np.testing.assert_allclose(packed[0, :, 2:, 2:], patterns(jnp.ones((1, 1, 3, 3), bool))[0], rtol=1e-6)
    assert not packed[0, :, 2:, :2].any()

    random = np.random.default_rng(1)
    x = jnp.asarray(random.normal(size=(2, 5, D)), jnp.float32)
    weights = {}
    for name in ("standard", "fixed"):
        settings = Attention(heads=H, mechanism=name, normalizer="learned_null")
        attention = MultiHead(settings, D, 0.0, rngs=nnx.Rngs(1))
        arguments = lengths[:, None, None], jnp.arange(5)[None], lengths.sum(-1)
        _, weights[name] = attention(x, *attention.project(x), *arguments)
    np.testing.assert_allclose(weights["fixed"][:, :3], found[:, :3])
    np.testing.assert_allclose(weights["fixed"][:, 3], weights["standard"][:, 3], atol=1e-6)


def test_talking_heads_start_as_attention_without_them():
    x, memory = inputs()
    found = []
    for name in ("standard", "talking"):
        attention = MultiHead(Attention(heads=H, mechanism=name), D, 0.0, rngs=nnx.Rngs(1))
        projected = attention.project(memory)
        found.append(attention(x, *projected, jnp.asarray(MASK)[:, None, None], jnp.arange(T)[None], None)[0])
    np.testing.assert_allclose(*found, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"heads": 2, "mechanism": "talking", "normalizer": "hard"}, r"several positions .*: give .*=sparsemax"),
        ({"heads": 1, "mechanism": "talking"}, r"mixes heads, and .*heads=1: give at least 2"),
        ({"heads": 16, "mechanism": "differential"}, r"a head is 1 wide: give .*heads that divide"),
        ({"heads": 2, "mechanism": "differential", "window": "local_p"}, r"predict a window .*=local_m"),
        ({"heads": 2, "mechanism": "linear", "score": "dot"}, r"leave out --model.attention.score=dot"),
        ({"heads": 2, "mechanism": "linear", "normalizer": "null"}, r"leave out --model.attention.normalizer=null"),
        ({"heads": 2, "mechanism": "linear", "window": "local_m"}, r"leave out --model.attention.window=local_m"),
        ({"heads": 2, "mechanism": "fixed"}, r"the encoder alone sees: give --model.attention.places encoder"),
        ({"heads": 1, "mechanism": "fixed", "places": ("encoder",)}, r"the last head to learn, .* at least 2"),
        ({"heads": 2, "mechanism": "fixed", "places": ("encoder",), "window": "local_m"}, r"in place of .*local_m"),
        ({"heads": 2, "mechanism": "talking", "fused": "always"}, r"has no fused kernel: give .*fused=auto"),
    ],
)
def test_incompatible_options(changes, message):
    with pytest.raises(UsageError, match=message):
        tiny(attention=Attention(**changes), attention_dropout=0.0).check()


def test_recurrent_decoders_have_no_mechanism():
    with pytest.raises(UsageError, match=r"--model.attention.mechanism applies to a Transformer's heads"):
        Rnn(attention=Attention("general", mechanism="talking")).check()


def test_rotary_positions_rotate_pairs_of_half_a_head():
    with pytest.raises(UsageError, match="half of a head is 1 wide"):
        tiny(attention=Attention(heads=8, mechanism="differential"), positions="rotary").check()
    tiny(attention=Attention(heads=8, mechanism="differential", places=("cross",)), positions="rotary").check()


def test_linear_attention_has_no_distances():
    with pytest.raises(UsageError, match=r"sums over keys alone: give --model.positions=sinusoidal"):
        tiny(attention=Attention(heads=2, mechanism="linear"), positions="alibi").check()
    tiny(attention=Attention(heads=2, mechanism="linear", places=("cross",)), positions="alibi").check()


@pytest.mark.parametrize("name", LOOPS)
def test_summands_add_up_and_changed_weights_are_used(name):
    attention = loud(MultiHead(Attention(heads=H, mechanism=name), D, 0.0, rngs=nnx.Rngs(1)))
    x, memory = inputs()
    keys, values = attention.project(memory)
    arguments = x, keys, values, jnp.asarray(MASK)[:, None, None], jnp.arange(T)[None], jnp.array(LENGTHS)
    output, weights = attention(*arguments)
    factors, vectors = attention.mechanism.summands(weights, values, attention.output[...])
    np.testing.assert_allclose(jnp.einsum("bhts,bhsd->btd", factors, vectors), output, atol=1e-5)
    attention.mechanism = Changed(attention.mechanism, lambda weights: weights)
    np.testing.assert_allclose(attention(*arguments)[0], output, atol=1e-5)


def test_cosines_of_shared_keys():
    """The keys have no parameters of each head, though the queries have."""
    attention = MultiHead(Attention(heads=H, score="cosine", key_value_heads=2), D, 0.0, rngs=nnx.Rngs(1))
    x, memory = inputs()
    keys, values = attention.project(memory)
    np.testing.assert_allclose(jnp.linalg.norm(keys, axis=-1), np.ones((B, 2, S)), rtol=1e-5)
    p, t = arrays(attention), 2
    _, weights = attention(x, keys, values, jnp.ones((1, 1, 1, S), bool), jnp.arange(T)[None], None)
    for h in range(H):
        query, found = np.asarray(x[0, t]) @ p["query"][:, h], np.asarray(memory[0]) @ p["key"][:, h // 2]
        own = p["mechanism"]["score_weights"]
        strength = np.log1p(np.exp(query @ own["strength"][h] + own["strength_bias"][h]))
        cosines = found @ query / np.linalg.norm(found, axis=-1) / np.linalg.norm(query)
        np.testing.assert_allclose(weights[0, h, t], softmax(strength * cosines), atol=1e-5)
