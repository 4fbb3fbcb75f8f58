"""Recurrent models against NumPy: a sentence, a token and a gate at a time, from the papers and not from the code."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.attention.test_scores import energies, window
from tests.models.conftest import SOURCE, TARGET, Variant
from transformer.config import Attention, Rnn


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


@pytest.fixture(params=VARIANTS, ids=str, scope="module")
def variant(request):
    return Variant.of(VARIANTS[request.param])


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
    settings, _, parameters = variant
    logits, _, attention = variant.decode(SOURCE, TARGET)
    reference = Numpy(settings, jax.tree.map(np.asarray, parameters))
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


@pytest.mark.parametrize("decoder", ["luong", "luong, no input feeding", "bahdanau"])
def test_hard_attention_draws_a_position_for_each_token_in_training(decoder):
    """Without dropout, so that the key is used only here; sentences are sampled independently of each other."""
    changes = {"input_feeding": False} if "no input feeding" in decoder else {"decoder": decoder}
    attention = Attention(score="general", normalizer="hard")
    variant = Variant.of(rnn(attention=attention, dropout=0.0, **changes))
    source, target = jnp.tile(SOURCE[1:2], (40, 1)), jnp.tile(TARGET[1:2], (40, 1))

    @jax.jit
    def draw(parameters, key):
        net = nnx.merge(variant.graph, parameters)
        return net.decode(net.encode(source), target, key, weights=True)[1].cross[:, 0, 0]

    one, other = (np.asarray(draw(variant.parameters, jax.random.key(seed))) for seed in (1, 2))
    largest = np.asarray(variant.decode(source, target)[2].cross[:, 0, 0])
    assert set(np.unique(one)) == set(np.unique(largest)) == {0.0, 1.0}
    np.testing.assert_array_equal(one.sum(-1), 1)
    np.testing.assert_array_equal(largest, np.broadcast_to(largest[:1], largest.shape))
    places, others = one.argmax(-1), other.argmax(-1)
    assert (places != others).any(0).all()
    for t in range(places.shape[1]):
        assert len(set(places[:, t])) > 1
        assert t == 0 or (places[:, t] != places[:, t - 1]).any()


def test_dropout_needs_a_key_and_every_parameter_has_a_gradient(variant):
    """Nothing is built and then forgotten; the gradients are finite, short sentences and padding included."""

    @jax.jit
    @jax.value_and_grad
    def total(parameters, key):
        net = nnx.merge(variant.graph, parameters)
        hidden, _ = net.decode(net.encode(SOURCE, key), TARGET, key)
        return loss(net.output(hidden))

    def loss(logits):
        return jnp.sum((jax.nn.log_softmax(logits) * (TARGET != 0)[..., None]) ** 2)

    key = jax.random.key(1)
    dropped, gradients = total(variant.parameters, key)
    assert total(variant.parameters, key)[0] == dropped
    logits, _, _ = variant.decode(SOURCE, TARGET)
    assert abs(loss(logits) - dropped) > 1e-4 * dropped  # rounding alone: 1e-6
    for path, gradient in jax.tree_util.tree_leaves_with_path(gradients):
        assert np.isfinite(gradient).all(), path
        assert np.abs(gradient).max() > 0, path
