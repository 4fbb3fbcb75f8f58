import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.attention import test_positions
from tests.conftest import tiny
from tests.models.conftest import SOURCE, TARGET, Variant
from transformer.attention.config import POSITIONS
from transformer.config import Attention
from transformer.models.build import create, split
from transformer.nn import layers

VARIANTS = {
    "post-norm, sinusoids, all tied": tiny(),
    "pre-norm, RMSNorm, swiglu, rotary positions": tiny(
        norm="pre", norm_kind="rms", activation="swiglu", positions="rotary"
    ),
    "learned positions, gelu, target tied": tiny(positions="learned", activation="gelu", tie="target"),
    "nothing tied, dot, shared keys, T5's positions": tiny(
        tie="none", positions="t5", attention=Attention(heads=4, score="dot", key_value_heads=2)
    ),
    "uneven depth, normalised keys, Shaw's positions": tiny(
        encoder_layers=1, decoder_layers=3, positions="shaw", attention=Attention(heads=2, query_key_norm=True)
    ),
}


@pytest.fixture(params=VARIANTS, ids=str, scope="module")
def variant(request):
    return Variant.of(VARIANTS[request.param])


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
                if self.settings.positions not in ("sinusoidal", "learned"):
                    position = 0
                if self.settings.positions == "learned":
                    position = self.p[f"{side}_positions"]["learned"][t, i]
                out[t, i] = self.p[name]["table"][token, i] * np.sqrt(D) + position
        return out

    @staticmethod
    def norm(x, p):
        out = np.zeros_like(x)
        for t, row in enumerate(x):
            if "bias" not in p:
                out[t] = row / np.sqrt((row**2).mean() + 1e-6) * p["scale"]
                continue
            out[t] = (row - row.mean()) / np.sqrt(row.var() + 1e-6) * p["scale"] + p["bias"]
        return out

    def attention(self, queries, memory, p, allowed, causal=None):
        out, H = np.zeros((len(queries), self.settings.width)), self.settings.attention.heads
        K = self.settings.width // H
        weights = np.zeros((H, len(queries), len(memory)))
        for h in range(H):
            g = h * p["key"].shape[1] // H
            q, k, v = queries @ p["query"][:, h], memory @ p["key"][:, g], memory @ p["value"][:, g]
            if self.settings.attention.query_key_norm:
                q, k = (
                    x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6) * p[f"{side}_norm"]["scale"]
                    for side, x in (("query", q), ("key", k))
                )
            for t in range(len(queries)):
                energies = k @ q[t] / (np.sqrt(K) if self.settings.attention.score == "scaled_dot" else 1)
                scheme, own = self.settings.positions, p.get("relative", {}).get("weights", {})
                if causal is not None and scheme in POSITIONS:
                    energies = test_positions.energies(scheme, q[t], k, t, energies, own, h, H, causal)
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

    def __call__(self, source, target, full=False):
        """Logits [T, V] and cross-attention of the last layer [H, T, S], without padding; `full`: no causal
        mask."""
        x = self.embed("source", source)
        see_all = np.ones((max(len(source), len(target)), len(source)), bool)
        for i in range(self.settings.encoder_layers):
            p = jax.tree.map(lambda a, i=i: a[i], self.p["encoder"])
            x = self.residual(
                x, lambda y, p=p: self.attention(y, y, p["attention"], see_all, False)[0], p["attention_residual"]
            )
            x = self.residual(x, lambda y, p=p: self.feedforward(y, p["feedforward"]), p["feedforward_residual"])
        memory = self.norm(x, self.p["encoder_norm"]) if self.settings.norm == "pre" else x
        x = self.embed("target", target)
        past = (np.arange(len(target))[None] <= np.arange(len(target))[:, None]) | full
        for i in range(self.settings.decoder_layers):
            p = jax.tree.map(lambda a, i=i: a[i], self.p["decoder"])
            x = self.residual(
                x, lambda y, p=p: self.attention(y, y, p["attention"], past, True)[0], p["attention_residual"]
            )
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
    settings, _, parameters = variant
    logits, _, attention = variant.decode(SOURCE, TARGET)
    reference = Numpy(settings, jax.tree.map(np.asarray, parameters))
    for row in range(len(SOURCE)):
        source, target = (np.asarray(tokens[row][tokens[row] != 0]) for tokens in (SOURCE, TARGET))
        expected, cross = reference(source, target)
        np.testing.assert_allclose(logits[row, : len(target)], expected, atol=1e-5)
        found = attention.cross[row, -1, :, : len(target)]
        np.testing.assert_allclose(found[:, :, : len(source)], cross, atol=1e-5)
        assert not found[:, :, len(source) :].any(), "padding gets no weight"


@pytest.mark.parametrize("name", ["post-norm, sinusoids, all tied", "pre-norm, RMSNorm, swiglu, rotary positions"])
def test_full_context_equals_numpy(name):
    """With padding, which has no influence, against one sentence at a time without padding."""
    settings, graph, parameters = Variant.of(VARIANTS[name])
    model, reference = nnx.merge(graph, parameters), Numpy(settings, jax.tree.map(np.asarray, parameters))
    found = model.attend_in_full_context(model.encode(SOURCE), TARGET)
    for row in range(len(SOURCE)):
        source, target = (np.asarray(tokens[row][tokens[row] != 0]) for tokens in (SOURCE, TARGET))
        _, cross = reference(source, target, full=True)
        np.testing.assert_allclose(found[row, -1, :, : len(target), : len(source)], cross, atol=1e-5)
        assert not found[row, :, :, : len(target), len(source) :].any()


def test_the_last_row_of_each_prefix_in_full_context_is_the_causal_one():
    """In one layer, whose other positions are embeddings alone; earlier rows see what comes later."""
    settings = tiny(decoder_layers=1)
    _, graph, parameters = Variant.of(settings)
    model = nnx.merge(graph, parameters)
    target, source = TARGET[1], jnp.broadcast_to(SOURCE[1], (5, 6))
    prefixes = jnp.where(jnp.arange(5)[None] <= jnp.arange(5)[:, None], target[None], 0)
    full = model.attend_in_full_context(model.encode(source), prefixes)
    _, causal = model.decode(model.encode(source[:1]), target[None], weights=True)
    for t in range(5):
        np.testing.assert_allclose(full[t, :, :, t], causal.cross[0, :, :, t], atol=1e-6)
    assert not np.allclose(full[4, :, :, 0], full[3, :, :, 0], atol=1e-4)
    np.testing.assert_array_equal(causal.decoder[0, 0, :, 0, 1:], 0)


def test_unrolled_equals_scanned():
    """Including the gradients, with dropout: the flag only changes how XLA compiles."""

    def gradient(unroll):
        model = create(tiny(unroll=unroll), 13, 13, 1)
        graph, parameters = split(model)

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


@pytest.mark.slow
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
    _, parameters = split(create(tiny(tie=tie), 13, 13, 1))
    paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(parameters) if path[-1].key == "table"]
    assert len(paths) == tables


def test_tying_survives_split_and_merge():
    graph, parameters = split(create(tiny(), 13, 13, 1))
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
    _, parameters = split(create(settings, 13, 13, 1))
    D, F = 16, 24
    encoder = 4 * D * D + 2 * D * F + F + D + 2 * 2 * D
    decoder = 8 * D * D + 2 * D * F + F + D + 3 * 2 * D
    assert sum(p.size for p in jax.tree.leaves(parameters)) == 13 * D + encoder + decoder
