import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.conftest import tiny
from transformer import layers, models
from transformer.config import Attention

SOURCE = jnp.array([[5, 6, 7, 3, 0, 0], [8, 9, 10, 11, 4, 3], [3, 0, 0, 0, 0, 0]], jnp.int32)
TARGET = jnp.array([[2, 5, 6, 7, 0], [2, 8, 9, 10, 11], [2, 4, 0, 0, 0]], jnp.int32)

VARIANTS = {
    "post-norm, sinusoids, all tied": {},
    "pre-norm, swiglu": {"norm": "pre", "activation": "swiglu"},
    "learned positions, gelu, target tied": {"positions": "learned", "activation": "gelu", "tie": "target"},
    "nothing tied, dot": {"tie": "none", "attention": Attention(heads=4, score="dot")},
    "uneven depth": {"encoder_layers": 1, "decoder_layers": 3},
}


@pytest.fixture(params=VARIANTS, ids=str)
def variant(request):
    settings = tiny(**VARIANTS[request.param])
    vocabulary = 13 if settings.tie == "all" else 17
    model = models.create(settings, vocabulary, 13, seed=3)
    graph, parameters = models.split(model)
    # Fresh norms and biases are ones and zeros, which would hide a missing one.
    random = np.random.default_rng(0)
    parameters = jax.tree.map(lambda p: p + 0.1 * random.normal(size=p.shape).astype(np.float32), parameters)
    return settings, nnx.merge(graph, parameters), jax.tree.map(np.asarray, parameters)


class Numpy:
    """Vaswani 2017 in NumPy, a sentence and a head at a time, from the paper and not from the code."""

    def __init__(self, settings, parameters):
        self.settings, self.p = settings, parameters

    def embed(self, side, tokens):
        D, name = self.settings.width, "embed_source" if self.settings.tie == "all" else f"embed_{side}"
        out = np.zeros((len(tokens), D))
        for t, token in enumerate(tokens):
            for i in range(D):
                angle = t / 10000 ** (2 * (i // 2) / D)
                position = np.sin(angle) if i % 2 == 0 else np.cos(angle)
                if self.settings.positions == "learned":
                    position = self.p[f"{side}_positions"]["learned"][t, i]
                out[t, i] = self.p[name]["table"][token, i] * np.sqrt(D) + position
        return out

    @staticmethod
    def norm(x, p):
        out = np.zeros_like(x)
        for t, row in enumerate(x):
            out[t] = (row - row.mean()) / np.sqrt(row.var() + 1e-6) * p["scale"] + p["bias"]
        return out

    def attention(self, queries, memory, p, allowed):
        out, H = np.zeros((len(queries), self.settings.width)), self.settings.attention.heads
        K = self.settings.width // H
        weights = np.zeros((H, len(queries), len(memory)))
        for h in range(H):
            q, k, v = queries @ p["query"][:, h], memory @ p["key"][:, h], memory @ p["value"][:, h]
            for t in range(len(queries)):
                energies = k @ q[t] / (np.sqrt(K) if self.settings.attention.score == "scaled_dot" else 1)
                energies[~allowed[t]] = -np.inf
                weights[h, t] = np.exp(energies - energies.max()) / np.exp(energies - energies.max()).sum()
                out[t] += weights[h, t] @ v @ p["output"][h]
        return out, weights

    def feedforward(self, x, p):
        inner = x @ p["inner"] + p["inner_bias"]
        if self.settings.activation == "relu":
            inner = np.maximum(inner, 0)
        elif self.settings.activation == "gelu":
            inner = 0.5 * inner * (1 + np.tanh(np.sqrt(2 / np.pi) * (inner + 0.044715 * inner**3)))
        else:
            gate = x @ p["gate"]
            inner = gate / (1 + np.exp(-gate)) * inner
        return inner @ p["outer"] + p["outer_bias"]

    def residual(self, x, f, p):
        if self.settings.norm == "post":
            return self.norm(x + f(x), p["norm"])
        return x + f(self.norm(x, p["norm"]))

    def __call__(self, source, target):
        """Logits [T, V] and cross-attention of the last layer [H, T, S], without padding."""
        x = self.embed("source", source)
        see_all = np.ones((max(len(source), len(target)), len(source)), bool)
        for i in range(self.settings.encoder_layers):
            p = jax.tree.map(lambda a, i=i: a[i], self.p["encoder"])
            x = self.residual(
                x, lambda y, p=p: self.attention(y, y, p["attention"], see_all)[0], p["attention_residual"]
            )
            x = self.residual(x, lambda y, p=p: self.feedforward(y, p["feedforward"]), p["feedforward_residual"])
        memory = self.norm(x, self.p["encoder_norm"]) if self.settings.norm == "pre" else x
        x = self.embed("target", target)
        past = np.arange(len(target))[None] <= np.arange(len(target))[:, None]
        for i in range(self.settings.decoder_layers):
            p = jax.tree.map(lambda a, i=i: a[i], self.p["decoder"])
            x = self.residual(x, lambda y, p=p: self.attention(y, y, p["attention"], past)[0], p["attention_residual"])
            cross = None

            def attend(y, p=p):
                nonlocal cross
                out, cross = self.attention(y, memory, p["cross"], see_all)
                return out

            x = self.residual(x, attend, p["cross_residual"])
            x = self.residual(x, lambda y, p=p: self.feedforward(y, p["feedforward"]), p["feedforward_residual"])
        hidden = self.norm(x, self.p["decoder_norm"]) if self.settings.norm == "pre" else x
        owner = {"all": "embed_source", "target": "embed_target"}.get(self.settings.tie)
        table = self.p[owner] if owner else self.p["output"]["embedding"]
        return hidden @ table["table"].T, cross


def test_forward_pass_equals_numpy(variant):
    """With padding and several lengths in the batch, against one sentence at a time without padding."""
    settings, model, parameters = variant
    hidden, attention = model.decode(model.encode(SOURCE, weights=True), TARGET, weights=True)
    logits = model.output(hidden)
    reference = Numpy(settings, parameters)
    for row in range(len(SOURCE)):
        source, target = (np.asarray(tokens[row][tokens[row] != 0]) for tokens in (SOURCE, TARGET))
        expected, cross = reference(source, target)
        np.testing.assert_allclose(logits[row, : len(target)], expected, atol=1e-5)
        found = attention.cross[row, -1, :, : len(target)]
        np.testing.assert_allclose(found[:, :, : len(source)], cross, atol=1e-5)
        assert not found[:, :, len(source) :].any(), "padding gets no weight"


def test_a_row_does_not_depend_on_its_padding(variant):
    _, model, _ = variant
    wide, _ = model.decode(model.encode(jnp.pad(SOURCE, [(0, 0), (0, 5)])), jnp.pad(TARGET, [(0, 0), (0, 3)]))
    narrow, _ = model.decode(model.encode(SOURCE), TARGET)
    np.testing.assert_allclose(wide[:, :5], narrow, atol=1e-5)


def test_steps_equal_the_whole(variant):
    """Cached decoding, three hypotheses a sentence, equals teacher forcing; so do its attention weights."""
    _, model, _ = variant
    beam = 3
    random = np.random.default_rng(5)
    targets = random.integers(4, 13, (len(SOURCE) * beam, 5)).astype(np.int32)
    targets[:, 0] = 2
    targets = jnp.asarray(targets)
    memory = model.encode(SOURCE, weights=True)
    fixed, cache = model.start(memory, 5, beam)
    repeated = model.encode(jnp.repeat(SOURCE, beam, 0), weights=True)
    hidden, attention = model.decode(repeated, targets, weights=True)
    step = jax.jit(lambda tokens, cache: model.step(tokens, fixed, cache, weights=True))
    for t in range(5):
        one, cache, record = step(targets[:, t], cache)
        np.testing.assert_allclose(one, hidden[:, t], atol=1e-5)
        np.testing.assert_allclose(record.cross, attention.cross[:, :, :, t], atol=1e-5)
        np.testing.assert_allclose(record.decoder, attention.decoder[:, :, :, t], atol=1e-5)


def test_cache_rows_may_stand_at_different_positions(variant):
    """Rows are independent: one may be ahead of another, as when a finished sentence is replaced."""
    _, model, _ = variant
    memory = model.encode(SOURCE)
    fixed, fresh = model.start(memory, 5)
    _, ahead, _ = model.step(TARGET[:, 0], fixed, fresh)
    mixed = jax.tree.map(lambda a, b: jnp.concatenate([a[:1], b[1:]]), ahead, fresh)
    tokens = jnp.array([TARGET[0, 1], TARGET[1, 0], TARGET[2, 0]])
    hidden, _, _ = model.step(tokens, fixed, mixed)
    whole, _ = model.decode(memory, TARGET)
    np.testing.assert_allclose(hidden[0], whole[0, 1], atol=1e-5)
    np.testing.assert_allclose(hidden[1:], whole[1:, 0], atol=1e-5)


def test_every_leaf_of_cache_and_fixed_leads_with_sentences(variant):
    _, model, _ = variant
    assert {leaf.shape[0] for leaf in jax.tree.leaves(model.start(model.encode(SOURCE), 5, 4))} == {3}


def test_hypotheses_go_on_from_one_another(variant):
    """After every token they change places; each must still see its own past, and nothing else."""
    _, model, _ = variant
    beam, random = 3, np.random.default_rng(6)
    B = len(SOURCE)
    fixed, cache = model.start(model.encode(SOURCE), 6, beam)
    step = jax.jit(lambda tokens, cache: model.step(tokens, fixed, cache, weights=True))
    past = np.zeros((B, beam, 0), np.int32)
    for t in range(6):
        token = random.integers(4, 13, (B, beam, 1)) if t else np.full((B, beam, 1), 2)
        past = np.concatenate([past, token.astype(np.int32)], -1)
        one, cache, record = step(jnp.asarray(past[:, :, -1].reshape(-1)), cache)
        repeated = model.encode(jnp.repeat(SOURCE, beam, 0))
        hidden, attention = model.decode(repeated, jnp.asarray(past.reshape(B * beam, -1)), weights=True)
        np.testing.assert_allclose(one, hidden[:, -1], atol=1e-5)
        np.testing.assert_allclose(record.decoder[..., : t + 1], attention.decoder[:, :, :, -1], atol=1e-5)
        parent = random.integers(0, beam, (B, beam))
        past = past[np.arange(B)[:, None], parent]
        cache = model.reorder(cache, jnp.asarray(parent))


def test_unrolled_equals_scanned():
    """Also the gradients, dropout on: the flag changes how XLA compiles and nothing else."""

    def gradient(unroll):
        model = models.create(tiny(unroll=unroll), 13, 13, 1)
        graph, parameters = models.split(model)

        def loss(parameters):
            model = nnx.merge(graph, parameters)
            hidden, _ = model.decode(model.encode(SOURCE, jax.random.key(1)), TARGET, jax.random.key(2))
            return jnp.sum(model.output(hidden) ** 2)

        return jax.jit(jax.value_and_grad(loss))(parameters)

    scanned, unrolled = gradient(False), gradient(True)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), scanned, unrolled)


def test_targets_do_not_see_the_future(tiny_model):
    changed = TARGET.at[1, 3:].set(12)
    memory = tiny_model.encode(SOURCE)
    before, after = tiny_model.decode(memory, TARGET)[0], tiny_model.decode(memory, changed)[0]
    np.testing.assert_array_equal(before[1, :3], after[1, :3])
    assert not np.allclose(before[1, 3], after[1, 3])


def test_dropout_needs_a_key_and_follows_it(tiny_model):
    def run(encoder, decoder):
        return np.asarray(tiny_model.decode(tiny_model.encode(SOURCE, encoder), TARGET, decoder)[0])

    key, other = jax.random.split(jax.random.key(0))
    np.testing.assert_array_equal(run(key, key), run(key, key))
    assert not np.allclose(run(key, key), run(None, None))
    assert not np.allclose(run(key, key), run(other, key))
    assert not np.allclose(run(key, key), run(key, other))


@pytest.mark.parametrize(("tie", "tables"), [("all", 1), ("target", 2), ("none", 3)])
def test_tied_tables_are_one_parameter(tie, tables):
    _, parameters = models.split(models.create(tiny(tie=tie), 13, 13, 1))
    paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(parameters) if path[-1].key == "table"]
    assert len(paths) == tables


def test_tying_survives_split_and_merge():
    graph, parameters = models.split(models.create(tiny(), 13, 13, 1))
    parameters["embed_source"]["table"] = jnp.ones_like(parameters["embed_source"]["table"])
    model = nnx.merge(graph, parameters)
    assert float(model.embed_target.table[0, 0]) == 1.0
    np.testing.assert_allclose(model.output(jnp.ones((1, 16))), 16.0)


def test_sinusoids_by_hand():
    table = layers.sinusoids(3, 4)
    np.testing.assert_allclose(table[0], [0, 1, 0, 1])
    np.testing.assert_allclose(table[2], [np.sin(2), np.cos(2), np.sin(0.02), np.cos(0.02)], rtol=1e-6)


def test_number_of_parameters_by_hand():
    """Table of 13; a layer's attention 4 D^2, feed-forward 2 D F + F + D, norms 2 D each."""
    settings = dataclasses.replace(tiny(), encoder_layers=1, decoder_layers=1)
    _, parameters = models.split(models.create(settings, 13, 13, 1))
    D, F = 16, 24
    encoder = 4 * D * D + 2 * D * F + F + D + 2 * 2 * D
    decoder = 8 * D * D + 2 * D * F + F + D + 3 * 2 * D
    assert sum(p.size for p in jax.tree.leaves(parameters)) == 13 * D + encoder + decoder
