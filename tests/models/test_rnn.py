"""Recurrent models against NumPy: a sentence, a token and a gate at a time, from the papers and not from the code."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.attention.test_scores import energies, window
from transformer import models
from transformer.config import Attention, Rnn

SOURCE = jnp.array([[5, 6, 7, 3, 0, 0], [8, 9, 10, 11, 4, 3], [3, 0, 0, 0, 0, 0]], jnp.int32)
TARGET = jnp.array([[2, 5, 6, 7, 0], [2, 8, 9, 10, 11], [2, 4, 0, 0, 0]], jnp.int32)


def rnn(score="general", window="global", **changes):
    attention = Attention(score=score, window=window, half_width=2, hidden=5, positions=4)
    return Rnn(**({"embedding": 6, "width": 8, "attention": attention, "dropout": 0.3, "max_length": 32} | changes))


VARIANTS = {
    "luong": rnn(),
    "luong, two layers of gru, dot": rnn("dot", cell="gru", encoder_layers=2, decoder_layers=2),
    "luong, no input feeding, concat": rnn("concat", input_feeding=False),
    "luong, location": rnn("location"),
    "luong, local-m, reversed source": rnn("general", "local_m", reverse=True),
    "luong, local-p, reversed source, two layers": rnn(
        "general", "local_p", reverse=True, encoder_layers=2, decoder_layers=2
    ),
    "luong, local-p, no input feeding, cosine": rnn("cosine", "local_p", input_feeding=False),
    "luong, both directions, all tied": rnn("additive", bidirectional=True, readout=6, tie="all"),
    "luong, both directions of half the width, dot": rnn("dot", bidirectional=True, encoder_width=4),
    "no attention (Sutskever 2014)": rnn("none", reverse=True, encoder_layers=2, decoder_layers=2),
    "bahdanau": rnn("additive", decoder="bahdanau", cell="gru", bidirectional=True),
    "bahdanau, lstm, two layers, local-p": rnn(
        "additive", "local_p", decoder="bahdanau", bidirectional=True, decoder_layers=2, encoder_layers=2
    ),
    "bahdanau, one direction, target tied": rnn("scaled_dot", decoder="bahdanau", cell="gru", readout=6, tie="target"),
    "no attention (Cho 2014)": rnn("none", decoder="bahdanau", cell="gru"),
}


@pytest.fixture(params=VARIANTS, ids=str)
def variant(request):
    settings = VARIANTS[request.param]
    model = models.create(settings, 13 if settings.tie == "all" else 17, 13, seed=3)
    graph, parameters = models.split(model)
    random = np.random.default_rng(0)
    # Fresh biases are zeros, which would hide a missing one.
    parameters = jax.tree.map(lambda p: p + 0.1 * random.normal(size=p.shape).astype(np.float32), parameters)
    return settings, nnx.merge(graph, parameters), jax.tree.map(np.asarray, parameters)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


class Numpy:
    def __init__(self, settings, parameters):
        self.s, self.p = settings, parameters

    def cell(self, p, x, state):
        """One step; the state is a list of vectors."""
        H = len(state[0])
        W, U, b = p["input"], p["recurrent"], p["bias"]
        gate = lambda n, h: x @ W[:, n * H : (n + 1) * H] + h @ U[:, n * H : (n + 1) * H] + b[n * H : (n + 1) * H]  # noqa: E731
        h = state[0]
        if self.s.cell == "lstm":
            c = sigmoid(gate(1, h)) * state[1] + sigmoid(gate(0, h)) * np.tanh(gate(2, h))
            return [sigmoid(gate(3, h)) * np.tanh(c), c]
        z, r = sigmoid(gate(0, h)), sigmoid(gate(1, h))
        return [(1 - z) * h + z * np.tanh(gate(2, r * h))]

    def nothing(self):
        return [np.zeros(self.s.encoder_width or self.s.width) for _ in range(2 if self.s.cell == "lstm" else 1)]

    def embed(self, side, token):
        table = self.p["embed_source" if self.s.tie == "all" else f"embed_{side}"]["table"]
        return table[token] * np.sqrt(table.shape[1])

    def encode(self, source):
        words = [*source[-2::-1], source[-1]] if self.s.reverse else list(source)
        inputs, finals = [self.embed("source", token) for token in words], []
        for layer in range(self.s.encoder_layers):
            directions, last = [], []
            for name in ["forward", "backward"][: 2 if self.s.bidirectional else 1]:
                order = range(len(inputs)) if name == "forward" else range(len(inputs) - 1, -1, -1)
                state, hidden = self.nothing(), {}
                for place in order:
                    state = self.cell(self.p["encoder"][name][layer], inputs[place], state)
                    hidden[place] = state[0]
                directions.append([hidden[place] for place in range(len(inputs))])
                last.append(state)
            inputs = [np.concatenate(both) for both in zip(*directions, strict=True)]
            finals.append(last)
        memory = [*inputs[-2::-1], inputs[-1]] if self.s.reverse else inputs
        return np.stack(memory), finals

    def first_states(self, finals):
        if self.s.decoder == "luong" and not self.s.bidirectional:
            return [last[0] for last in finals]
        leaves, states = (2 if self.s.cell == "lstm" else 1), []
        for layer in range(self.s.decoder_layers):
            last = finals[min(layer, len(finals) - 1)]
            state = []
            for leaf in range(leaves):
                given = last[-1][leaf] if self.s.decoder == "bahdanau" else np.concatenate([d[leaf] for d in last])
                state.append(np.tanh(given @ self.p["bridge"]["maps"][layer * leaves + leaf]))
            states.append(state)
        return states

    def attend(self, query, memory, t):
        p = self.p["decoder"].get("mechanism", {})  # dot has no parameters
        seen, gain = window(self.s.attention, p.get("window_weights"), query, t, len(memory))
        exponentials = np.zeros(len(memory))
        for place, energy in enumerate(energies(self.s.attention.score, p.get("score_weights"), query, memory)):
            if seen[place] and np.isfinite(energy):
                exponentials[place] = np.exp(energy)
        weights = gain * exponentials / max(exponentials.sum(), 1e-300)
        return weights @ memory, weights

    def __call__(self, source, target):
        memory, finals = self.encode(source)
        states = self.first_states(finals)
        p, none = self.p["decoder"], self.s.attention.score == "none"
        cells = p["stack"]["cells"]
        feed = np.zeros(p["combine"].shape[1]) if "combine" in p else None
        hidden, alignment = [], []
        for t, token in enumerate(target):
            embedded, context, weights = self.embed("target", token), None, None
            before = states[-1][0]
            if self.s.decoder == "bahdanau":
                context = np.concatenate([d[0] for d in finals[-1]])
                if not none:
                    context, weights = self.attend(before, memory, t)
                x = np.concatenate([embedded, context])
            else:
                x = np.concatenate([embedded, feed]) if self.s.input_feeding and not none else embedded
            new = []
            for layer in range(self.s.decoder_layers):
                new.append(self.cell(cells[layer], x, states[layer]))
                x = new[-1][0]
            states = new
            if self.s.decoder == "bahdanau":
                deep = np.concatenate([before, embedded, context]) @ p["deep"]
                hidden.append([max(deep[2 * j], deep[2 * j + 1]) for j in range(len(deep) // 2)])
            elif none:
                hidden.append(x)
            else:
                context, weights = self.attend(x, memory, t)
                feed = np.tanh(np.concatenate([context, x]) @ p["combine"])
                hidden.append(feed)
            alignment.append(weights)
        tables = {"all": "embed_source", "target": "embed_target"}
        table = self.p[tables[self.s.tie]] if self.s.tie in tables else self.p["output"]["embedding"]
        return np.stack(hidden) @ table["table"].T + self.p["output"]["bias"], alignment


def test_forward_pass_equals_numpy(variant):
    """With padding and several lengths in the batch, against one sentence at a time without padding."""
    settings, model, parameters = variant
    hidden, attention = model.decode(model.encode(SOURCE), TARGET, weights=True)
    logits, reference = model.output(hidden), Numpy(settings, parameters)
    for row in range(len(SOURCE)):
        source, target = (np.asarray(tokens[row][tokens[row] != 0]) for tokens in (SOURCE, TARGET))
        expected, alignment = reference(source, target)
        np.testing.assert_allclose(logits[row, : len(target)], expected, atol=1e-5)
        if settings.attention.score == "none":
            assert attention.cross is None
            continue
        found = attention.cross[row, 0, 0, : len(target)]
        np.testing.assert_allclose(found[:, : len(source)], np.stack(alignment), atol=1e-5)
        assert not found[:, len(source) :].any(), "padding gets no weight"


def test_a_row_does_not_depend_on_its_padding(variant):
    _, model, _ = variant
    wide, _ = model.decode(model.encode(jnp.pad(SOURCE, [(0, 0), (0, 5)])), jnp.pad(TARGET, [(0, 0), (0, 3)]))
    narrow, _ = model.decode(model.encode(SOURCE), TARGET)
    np.testing.assert_allclose(wide[:, :5], narrow, atol=1e-5)


def test_steps_equal_the_whole(variant):
    """Three hypotheses a sentence, one token at a time, equal teacher forcing; so do the attention weights."""
    settings, model, _ = variant
    targets = np.random.default_rng(5).integers(4, 13, (len(SOURCE) * 3, 5)).astype(np.int32)
    targets[:, 0] = 2
    fixed, cache = model.start(model.encode(SOURCE), 5, 3)
    hidden, attention = model.decode(model.encode(jnp.repeat(SOURCE, 3, 0)), jnp.asarray(targets), weights=True)
    step = jax.jit(lambda tokens, cache: model.step(tokens, fixed, cache, weights=True))
    for t in range(5):
        one, cache, record = step(jnp.asarray(targets[:, t]), cache)
        np.testing.assert_allclose(one, hidden[:, t], atol=1e-5)
        if settings.attention.score != "none":
            np.testing.assert_allclose(record.cross, attention.cross[:, :, :, t], atol=1e-5)


def test_every_leaf_of_cache_and_fixed_leads_with_sentences(variant):
    _, model, _ = variant
    assert {leaf.shape[0] for leaf in jax.tree.leaves(model.start(model.encode(SOURCE), 5, 4))} == {len(SOURCE)}


def test_hypotheses_go_on_from_one_another(variant):
    """After every token they change places; each must still know its own past, and nothing else."""
    _, model, _ = variant
    beam, random = 3, np.random.default_rng(6)
    B = len(SOURCE)
    fixed, cache = model.start(model.encode(SOURCE), 4, beam)
    step = jax.jit(lambda tokens, cache: model.step(tokens, fixed, cache))
    past = np.zeros((B, beam, 0), np.int32)
    for t in range(4):
        token = random.integers(4, 13, (B, beam, 1)) if t else np.full((B, beam, 1), 2)
        past = np.concatenate([past, token.astype(np.int32)], -1)
        one, cache, _ = step(jnp.asarray(past[:, :, -1].reshape(-1)), cache)
        repeated = model.encode(jnp.repeat(SOURCE, beam, 0))
        hidden, _ = model.decode(repeated, jnp.asarray(past.reshape(B * beam, -1)))
        np.testing.assert_allclose(one, hidden[:, -1], atol=1e-5)
        parent = random.integers(0, beam, (B, beam))
        past = past[np.arange(B)[:, None], parent]
        cache = model.reorder(cache, jnp.asarray(parent))


def test_dropout_needs_a_key_and_every_parameter_has_a_gradient(variant):
    """Nothing is built and then forgotten; the gradients are finite, short sentences and padding included."""
    _, model, _ = variant
    graph, parameters = models.split(model)

    def total(parameters, key):
        net = nnx.merge(graph, parameters)
        hidden, _ = net.decode(net.encode(SOURCE, key), TARGET, key)
        return jnp.sum((jax.nn.log_softmax(net.output(hidden)) * (TARGET != 0)[..., None]) ** 2)

    key = jax.random.key(1)
    assert total(parameters, key) == total(parameters, key)
    assert total(parameters, key) != total(parameters, None)
    for path, gradient in jax.tree_util.tree_leaves_with_path(jax.grad(total)(parameters, key)):
        assert np.isfinite(gradient).all(), path
        assert np.abs(gradient).max() > 0, path
