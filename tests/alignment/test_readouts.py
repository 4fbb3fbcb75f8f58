"""Read-outs against loops in NumPy, finite differences and sentences without the word."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.conftest import tiny
from transformer.alignment.extract import Extractor, Pair
from transformer.alignment.readouts import mixing, norms, saliency, table
from transformer.alignment.readouts.names import OF_PREDICTIONS, READOUTS, WEIGHTS, WITHOUT_HEADS, check_names
from transformer.alignment.readouts.shares import shares
from transformer.alignment.readouts.table import Batch, Passes
from transformer.attention.multihead import MultiHead
from transformer.config import Attention, Composed, Mesh, Rnn
from transformer.data.tokenizers.tokenizer import Tokenizers
from transformer.data.tokenizers.whole_words import WordTokenizer
from transformer.distributed import sharding as parallel
from transformer.errors import UsageError
from transformer.models.build import builder, create, split
from transformer.models.ensemble import Ensemble
from transformer.models.interface import Summands
from transformer.models.transformer.trace import trace
from transformer.nn.layers import Residual

# Two sentences, the second with padding; the word of tokens 5 and 6 has two pieces.
SOURCE = jnp.array([[4, 5, 6, 7, 3], [8, 9, 3, 0, 0]], jnp.int32)
UNITS = jnp.array([[0, 1, 1, 2, 3], [0, 1, 2, -1, -1]], jnp.int32)
TARGET_IN = jnp.array([[2, 4, 5, 6], [2, 7, 0, 0]], jnp.int32)
TARGET_OUT = jnp.array([[4, 5, 6, 3], [7, 3, 0, 0]], jnp.int32)
BATCH = Batch(SOURCE, UNITS, TARGET_IN, TARGET_OUT)
T = (TARGET_OUT != 0).sum(1).tolist()
S = (SOURCE != 0).sum(1).tolist()
LSTM = Rnn(embedding=6, width=8, attention=Attention(score="general"), max_length=16)
GRU = Rnn(
    embedding=6, width=8, cell="gru", decoder="bahdanau", attention=Attention(score="additive"), reverse=True,
    max_length=16,
)  # fmt: skip
SETTINGS = {
    "pre": tiny(max_length=16, norm="pre"),
    "post": tiny(max_length=16, norm="post", unroll=True),
    "luong": LSTM,
    "bahdanau": GRU,
    "composed": Composed(tiny(max_length=16), LSTM),
}


def build(name):
    """A model whose parameters are all random, including those that start at zero or one."""
    graph, parameters = split(create(SETTINGS[name], 11, 11, 1))
    random = np.random.default_rng(1)
    return graph, jax.tree.map(lambda p: p + 0.2 * random.normal(size=p.shape).astype(np.float32), parameters)


@pytest.fixture(scope="module")
def models():
    return {name: nnx.merge(*build(name)) for name in SETTINGS}


@pytest.fixture(scope="module")
def traces(models):
    return {name: jax.jit(lambda m=model: Passes(m, BATCH).trace)() for name, model in models.items()}


def logp(model, source, target_in=TARGET_IN, target_out=TARGET_OUT, embedded=None):
    """[B, T] by the plain softmax of all logits."""
    return _logp(*nnx.split(model), source, target_in, target_out, embedded)


@partial(jax.jit, static_argnums=0)
def _logp(graph, parameters, source, target_in, target_out, embedded):
    model = nnx.merge(graph, parameters)
    memory = model.encode(source) if embedded is None else model.encode(source, embedded=embedded)
    every = jax.nn.log_softmax(model.output(model.decode(memory, target_in)[0]))
    return jnp.take_along_axis(every, target_out[..., None], -1)[..., 0]


@pytest.mark.parametrize("name", SETTINGS)
def test_a_trace_matches_the_forward_pass(models, traces, name):
    model = models[name]
    memory = model.encode(SOURCE, weights=True)
    _, attention = model.decode(memory, TARGET_IN, weights=True)
    for layer, summands in enumerate(traces[name].cross):
        np.testing.assert_allclose(summands.weights, attention.cross[:, layer], rtol=1e-5, atol=1e-6)
    for layer, summands in enumerate(traces[name].encoder):
        np.testing.assert_allclose(summands.weights, memory.attention[:, layer], rtol=1e-5, atol=1e-6)
    for layer, summands in enumerate(traces[name].decoder):
        np.testing.assert_allclose(summands.weights, attention.decoder[:, layer], rtol=1e-5, atol=1e-6)


def test_the_sum_of_a_trace_enters_the_next_sublayer(traces):
    """pre-norm: self-attention and its residual connection give the residual of the attention to the source."""
    trace = traces["pre"]
    for own, cross in zip(trace.decoder, trace.cross, strict=True):
        added = np.einsum("bhtn,bhnd->btd", own.weights, own.values)
        np.testing.assert_allclose(added + own.residual, cross.residual, rtol=1e-4, atol=1e-5)


def test_values_of_recurrent_models_are_what_the_context_adds(models):
    for name, rows in (("luong", slice(0, -8)), ("bahdanau", slice(8 + 6, None))):
        model = models[name]
        # [c_t; h_t], and [s_{t-1}; E y_{t-1}; c_t], of widths 8 and 6 but for the context's.
        weights = np.asarray(model.decoder.combine[...] if name == "luong" else model.decoder.deep[...])[rows]
        states = np.random.default_rng(0).normal(size=(1, 3, len(weights))).astype(np.float32)
        found = model.decoder.project_context(jnp.array(states))
        np.testing.assert_allclose(found, states @ weights, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["pre", "post", "bahdanau"])
def test_norms_equal_loops(traces, name):
    layers = traces[name].cross
    by_head, by_layer = np.asarray(norms.head_norms(layers)), np.asarray(norms.norms(layers))
    assert by_layer.shape[2] == 1
    for number, layer in enumerate(layers):
        weights, values = np.asarray(layer.weights), np.asarray(layer.values)
        for b in range(2):
            for t in range(T[b]):
                for s in range(S[b]):
                    vectors = [weights[b, h, t, s] * values[b, h, s] for h in range(weights.shape[1])]
                    lengths = [np.sqrt((vector**2).sum()) for vector in vectors]
                    np.testing.assert_allclose(by_head[b, number, :, t, s], lengths, rtol=1e-4, atol=1e-6)
                    whole = np.sqrt((sum(vectors) ** 2).sum())
                    np.testing.assert_allclose(by_layer[b, number, 0, t, s], whole, rtol=1e-3, atol=1e-5)


def rollout_by_hand(trace, b):
    """Through a stack of [source; prefix] states, one after the other, with explicit matrices."""
    source = np.eye(SOURCE.shape[1])
    for layer in trace.encoder:
        source = (0.5 * np.asarray(layer.weights)[b].mean(0) + 0.5 * np.eye(len(source))) @ source
    length = TARGET_IN.shape[1]
    state = np.concatenate([np.zeros((length, len(source))), np.eye(length)], 1)
    found = []
    for own, cross in zip(trace.decoder, trace.cross, strict=True):
        state = (0.5 * np.asarray(own.weights)[b].mean(0) + 0.5 * np.eye(length)) @ state
        state *= 0.5
        state[:, : len(source)] += 0.5 * np.asarray(cross.weights)[b].mean(0) @ source
        np.testing.assert_allclose(state.sum(1)[: T[b]], 1, rtol=1e-5)
        found.append(state[:, : len(source)].copy())
    return np.stack(found)


@pytest.mark.parametrize("name", ["pre", "post"])
def test_rollout_equals_products_of_whole_matrices(traces, name):
    found = np.asarray(mixing.rollout(traces[name]))
    for b in range(2):
        expected = rollout_by_hand(traces[name], b)
        np.testing.assert_allclose(found[b, :, 0, : T[b]], expected[:, : T[b]], rtol=1e-4, atol=1e-6)


def contributions_by_hand(layer, b, t, own):
    """Shares of all summands of one output, each vector by itself."""
    weights, values = np.asarray(layer.weights, np.float64)[b, :, t], np.asarray(layer.values, np.float64)[b]
    vectors = [sum(weights[h, s] * values[h, s] for h in range(len(weights))) for s in range(weights.shape[1])]
    residual = np.asarray(layer.residual, np.float64)[b, t]
    if own:
        vectors[t] = vectors[t] + residual
    else:
        vectors.append(residual)
    total = sum(vectors)
    if layer.gain is not None:
        gain, spread = np.asarray(layer.gain, np.float64), total.std()
        vectors = [gain * (vector - vector.mean()) / spread for vector in vectors]
        total = gain * (total - total.mean()) / spread
    if layer.rms_gain is not None:
        gain, size = np.asarray(layer.rms_gain, np.float64), np.sqrt((total**2).mean())
        vectors, total = [gain * vector / size for vector in vectors], gain * total / size
    near = [max(0.0, np.abs(total).sum() - np.abs(total - vector).sum()) for vector in vectors]
    return np.array(near) / sum(near)


@pytest.mark.parametrize("name", ["pre", "post", "rms"])
def test_contributions_equal_loops(traces, name):
    trace = traces["pre" if name == "rms" else name]
    assert (trace.cross[0].gain is None) == (name != "post")
    for layer, own in ((trace.encoder[1], True), (trace.decoder[0], True), (trace.cross[1], False)):
        if name == "rms":
            layer = layer._replace(rms_gain=jnp.linspace(-1, 2, layer.values.shape[-1]))
        found = mixing.contributions(layer, own)
        for b in range(2):
            for t in range(T[b]):
                expected = contributions_by_hand(layer, b, t, own)
                mine = np.asarray(found.attended[b, t])
                mine = mine if own else [*mine, float(found.residual[b, t])]
                np.testing.assert_allclose(mine, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(("kind", "pre"), [("layer", True), ("layer", False), ("rms", True), ("rms", False)])
def test_a_trace_records_the_norm_that_follows(kind, pre):
    rngs, x = nnx.Rngs(1), jnp.ones((1, 2, 8))
    residual = Residual(8, pre=pre, rate=0.0, kind=kind, rngs=rngs)
    attention = MultiHead(Attention(heads=2), 8, 0.0, rngs=rngs)
    _, found = trace(residual, attention, x, None, jnp.ones((1, 1, 1, 2), bool), jnp.arange(2)[None], None)
    assert (found.gain is not None, found.rms_gain is not None) == (
        (kind == "layer" and not pre),
        (kind == "rms" and not pre),
    )


def test_shares_of_source_and_prefix_sum_to_one(traces):
    """With values that are the identity for every token, everything that is not from the source is from the prefix."""
    for of_layer in (mixing.halves, mixing.contributions):
        for own in (traces["post"].encoder[0], traces["post"].decoder[0]):
            attended, residual = of_layer(own, True)
            np.testing.assert_allclose(attended[0].sum(-1) + residual[0], 1, rtol=1e-5)
        attended, residual = of_layer(traces["post"].cross[0], False)
        np.testing.assert_allclose(attended[0].sum(-1) + residual[0], 1, rtol=1e-5)


def test_halves_of_weights_that_do_not_sum_to_one():
    """Weights of 0.6 and 0.9 with the residual connection's 1 (from a sigmoid); none at all."""
    layer = Summands(jnp.array([[[[0.6, 0.9], [0.0, 0.0]]]]), jnp.zeros((1, 1, 2, 3)))
    attended, residual = mixing.halves(layer, False)
    np.testing.assert_allclose(attended[0], [[0.24, 0.36], [0, 0]], rtol=1e-6)
    np.testing.assert_allclose(residual[0], [0.4, 1], rtol=1e-6)
    attended, residual = mixing.halves(layer, True)
    np.testing.assert_allclose(attended[0], [[0.64, 0.36], [0, 1]], rtol=1e-6)
    assert not residual.any()


@pytest.mark.parametrize("name", ["pre", "luong", "bahdanau"])
def test_gradient_times_input_equals_differences_of_the_scaled_embedding(models, name):
    model, step = models[name], 2e-3
    found = np.asarray(jax.jit(lambda: saliency.gradient_input(model, SOURCE, TARGET_IN, TARGET_OUT))())
    embedded = model.embed(SOURCE)

    def scaled(scale):
        return logp(model, SOURCE, embedded=embedded * scale[..., None])

    for b in range(2):
        for s in range(S[b]):
            up, down = (scaled(jnp.ones(SOURCE.shape).at[b, s].add(sign * step)) for sign in (1, -1))
            slope = np.asarray(up - down)[b, : T[b]] / (2 * step)
            np.testing.assert_allclose(found[b, : T[b], s], slope, rtol=2e-2, atol=2e-3)


def test_integrated_gradients_sum_to_the_difference(models, monkeypatch):
    """Completeness (Sundararajan 2017, section 3), which the sum over points approaches."""
    monkeypatch.setattr(saliency, "STEPS", 256)
    model = models["post"]
    found = np.asarray(jax.jit(lambda: saliency.integrated(model, SOURCE, TARGET_IN, TARGET_OUT))())
    embedded = model.embed(SOURCE)
    whole = np.asarray(logp(model, SOURCE) - logp(model, SOURCE, embedded=jnp.zeros_like(embedded)))
    for b in range(2):
        np.testing.assert_allclose(found[b, : T[b]].sum(-1), whole[b, : T[b]], rtol=0.01, atol=2e-3)


@pytest.mark.slow
def test_smoothgrad_is_the_mean_over_noisy_embeddings(models, monkeypatch):
    monkeypatch.setattr(saliency, "SAMPLES", 2)
    model = models["luong"]
    found = np.asarray(jax.jit(lambda: saliency.smooth_gradient(model, SOURCE, TARGET_IN, TARGET_OUT))())
    embedded, total = model.embed(SOURCE), 0.0
    ranges = [float(embedded[b, : S[b]].max() - embedded[b, : S[b]].min()) for b in range(2)]
    gradient = jax.jit(
        jax.grad(lambda e, b, t: logp(model, SOURCE, embedded=e)[b, t]), static_argnums=(1, 2)
    )  # one output at a time
    for sample in range(2):
        noise = jax.random.normal(jax.random.fold_in(jax.random.key(0), sample), embedded.shape[1:])
        noisy = embedded + saliency.NOISE * noise[None] * jnp.array(ranges)[:, None, None]
        positive = np.maximum(np.asarray((gradient(noisy, 0, 1) * embedded).sum(-1)[0]), 0)
        total += positive / positive.sum()
    np.testing.assert_allclose(found[0, 1], total / 2, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", ["post", "bahdanau"])
def test_erasure_equals_sentences_one_by_one(models, name):
    """Zeroed, or deleted from the unpadded sentence."""
    model = models[name]
    zeroed, left_out = jax.jit(lambda: (Passes(model, BATCH).zeroed, Passes(model, BATCH).left_out))()
    falls = {
        "erasure": zeroed.probability,
        "log-erasure": zeroed.log_probability,
        "omission": left_out.probability,
        "log-omission": left_out.log_probability,
    }
    falls = {how: np.asarray(fall) for how, fall in falls.items()}
    whole, embedded = logp(model, SOURCE), model.embed(SOURCE)
    for b, words in ((0, ([0], [1, 2], [3], [4])), (1, ([0], [1], [2]))):
        for word in words:
            zeroed = logp(model, SOURCE, embedded=embedded.at[b, jnp.array(word)].set(0))
            left = [token for s, token in enumerate(SOURCE[b, : S[b]].tolist()) if s not in word]
            target = TARGET_IN[b : b + 1, : T[b]], TARGET_OUT[b : b + 1, : T[b]]
            without = logp(model, jnp.array([left]), *target)[0]
            before, zeroed = whole[b, : T[b]], zeroed[b, : T[b]]
            for how, after in (("erasure", zeroed), ("omission", without)):
                of_word = falls[how][b, : T[b]][:, word].sum(-1)
                np.testing.assert_allclose(of_word, np.exp(before) - np.exp(after), rtol=1e-3, atol=1e-5)
                of_word = falls[f"log-{how}"][b, : T[b]][:, word].sum(-1)
                np.testing.assert_allclose(of_word, before - after, rtol=1e-3, atol=1e-4)


def test_shares_have_no_negative_values_and_sum_to_one():
    found = shares(jnp.array([[1.0, 3.0, -2.0], [-1.0, 0.0, -3.0]]))
    np.testing.assert_allclose(found, [[0.25, 0.75, 0], [0, 0, 0]])


WORDS = ["<pad>", "<unk>", "<s>", "</s>", "a", "b", "c", "d", "e", "f", "g"]
TOKENIZERS = Tokenizers(*[WordTokenizer("\n".join([*WORDS, ""]).encode())] * 2)


def test_read_outs_of_a_pair_do_not_depend_on_its_neighbours():
    """In a batch with longer pairs or alone: padding changes nothing."""
    graph, parameters = build("pre")
    extractor = Extractor(builder(graph), TOKENIZERS, parallel.make_mesh(Mesh()), max_length=16)
    pairs = [Pair(TOKENIZERS.source.segment(s), TOKENIZERS.target.segment(t)) for s, t in
             (("a b c", "d e"), ("g f e d c b a a a", "b a b a b"))]  # fmt: skip
    names = ("weights", "norms", "alti", "smoothgrad", "omission")
    together, alone = extractor.extract(parameters, pairs, by=names), extractor.extract(parameters, pairs[:1], by=names)
    assert together[0].kinds == alone[0].kinds == ("cross", "encoder", "decoder", *names[1:])
    for name in names[1:]:
        matrix = together[0].matrix(name)
        assert matrix.shape == (2 if name in ("norms", "alti") else 1, 1, 3, 4)
        np.testing.assert_allclose(matrix, alone[0].matrix(name), rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(matrix.sum(-1), 1, rtol=1e-5)


def test_models_without_a_read_out_say_so(models):
    batch = BATCH
    with pytest.raises(UsageError, match="rollout and alti are defined for self-attention"):
        table.compute(models["luong"], ["rollout"], batch)
    with pytest.raises(UsageError, match="rollout and alti are defined for self-attention"):
        table.compute(models["composed"], ["alti"], batch)
    both = Ensemble([models["luong"], models["luong"]], "probability")
    with pytest.raises(UsageError, match="which Ensemble does not: give another --by"):
        table.compute(both, ["norms"], batch)
    with pytest.raises(UsageError, match="take --by omission"):
        table.compute(both, ["erasure"], batch)
    with pytest.raises(UsageError, match="--by normes: there is no such read-out: did you mean norms"):
        check_names(["normes"])


def test_every_read_out_is_computed_with_its_layers_and_heads(models):
    """The names are written out, so that help needs no JAX."""
    assert (WEIGHTS, *table.BY_PLACE, *table.OF_PREDICTIONS) == READOUTS
    assert tuple(table.OF_PREDICTIONS) == OF_PREDICTIONS
    found = jax.eval_shape(lambda: table.compute(models["pre"], READOUTS[1:], BATCH))
    assert {name for name in READOUTS[1:] if found[name].shape[1:3] == (1, 1)} == set(OF_PREDICTIONS)
    assert tuple(name for name in READOUTS[1:] if found[name].shape[1:3] == (2, 1)) == WITHOUT_HEADS


def test_read_outs_of_one_batch_share_their_passes(models, monkeypatch):
    """Four of a trace, and each pair of erasures: the encoder is run as often as for one of each kind."""
    model, calls = models["pre"], {"trace_encoder": 0, "encode": 0}
    for name in calls:
        real = getattr(type(model), name)

        def counting(self, *arguments, name=name, real=real, **options):
            calls[name] += 1
            return real(self, *arguments, **options)

        monkeypatch.setattr(type(model), name, counting)
    jax.eval_shape(lambda: table.compute(model, ["full-context", "norms", "erasure", "omission"], BATCH))
    once = dict(calls)
    calls.update(trace_encoder=0, encode=0)
    every = [name for name in READOUTS[1:] if name not in ("gradient", "integrated", "smoothgrad")]
    jax.eval_shape(lambda: table.compute(model, every, BATCH))
    assert calls == once
    assert once["trace_encoder"] == 1
