"""MarianMTModel of Hugging Face in and out, against plain NumPy, which is held to outputs of transformers 5.24.

The numbers of GOLDEN are from MarianMTModel.from_pretrained(marian.make(...)).eval(), applied to SOURCE + [0] and
[padding, *TARGET]: the first four logits after the last token. MarianTokenizer gave the ids of TOKENS.
"""

import dataclasses
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.conftest import tiny, toy, untrained
from tests.interop import marian
from transformer import api
from transformer.commands.export import Export
from transformer.commands.import_model import ImportModel
from transformer.config import Attention, Tokenizer, flatten
from transformer.data.tokenizers.files import load_tokenizers
from transformer.errors import TransformerError, UsageError
from transformer.explain.transformer.steps import decoder_steps, encoder_steps
from transformer.interop import huggingface, vocabularies
from transformer.storage.run import Run
from transformer.training.run import train

GOLDEN = {
    "all": ("swish", True, [-0.5783, -0.8411, 0.8681, 1.0355]),
    "target": ("relu", True, [0.9688, 1.0146, 1.5645, -0.2141]),
    "none": ("gelu", False, [-0.3669, 0.9980, -0.1484, 0.5925]),
}
SOURCE, TARGET = [5, 9, 12, 7], [4, 8, 6]
TOKENS = "the old dog sleeps xyz", [2, 3, 5, 4, 2, 12, 6, 8, 9, 13, 7, 2, 1]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A folder for each kind of tied tables, and a run for each."""
    found = {}
    for tie, (activation, scale, _) in GOLDEN.items():
        folder = tmp_path_factory.mktemp(tie)
        marian.make(folder / "hf", tie, activation, scale)
        ImportModel(str(folder / "hf"), str(folder / "run"))()
        found[tie] = folder / "hf", folder / "run"
    return found


def orders(folder):
    config = huggingface.DEFAULTS | json.loads((folder / "config.json").read_text())
    return vocabularies.read(folder, config, json.loads((folder / "tokenizer_config.json").read_text()))[1]


@pytest.mark.parametrize("tie", GOLDEN)
def test_logits_are_those_of_transformers(folders, tie):
    folder, run = folders[tie]
    pad, golden = json.loads((folder / "config.json").read_text())["pad_token_id"], GOLDEN[tie][2]
    expected = marian.logits(folder, [*SOURCE, 0], [pad, *TARGET])
    np.testing.assert_allclose(expected[-1, :4], golden, atol=1e-4)
    source, target = ([list(order.ids).index(id_) for id_ in ids] for order, ids in
                      zip(orders(folder), (SOURCE, TARGET), strict=True))  # fmt: skip
    model = api.load(run)

    @jax.jit
    def logits(parameters):
        network = model.build(parameters)
        hidden, _ = network.decode(network.encode(jnp.array([[*source, 3, 0, 0]])), jnp.array([[2, *target]]))
        return network.output(hidden)[0]

    found = np.asarray(logits(model.parameters))
    words = [n for n in range(found.shape[1]) if n not in (0, 2)]
    np.testing.assert_allclose(found[:, words], expected[:, orders(folder)[1].ids[words]], atol=1e-5)
    # Padding, which is the start token there too, is two tokens here: together they are as probable as it is.
    np.testing.assert_allclose(np.logaddexp(found[:, 0], found[:, 2]), expected[:, pad], atol=1e-5)


def test_tokens_are_those_of_marian(folders):
    text, ids = TOKENS
    for folder, run in folders.values():
        tokenizer = api.load(run).tokenizers.source
        assert [int(orders(folder)[0].ids[id_]) for id_ in tokenizer.encode(text)] == ids
        assert tokenizer.decode(tokenizer.encode("the old dog sleeps")) == "the old dog sleeps"
        assert tokenizer.segment("the dog").word_ids[-1] == 1


def test_a_language_code_is_a_token(folders, tmp_path):
    shutil.copytree(folders["all"][0], tmp_path / "hf")
    ids = json.loads((tmp_path / "hf" / "vocab.json").read_text())
    piece = next(piece for piece, id_ in ids.items() if id_ == len(ids) - 2)
    ids = {">>de<<" if name == piece else name: id_ for name, id_ in ids.items()}
    (tmp_path / "hf" / "vocab.json").write_text(json.dumps(ids))
    tokenizer = huggingface.read(tmp_path / "hf").tokenizers.source
    assert tokenizer.pieces(tokenizer.encode(">>de<< the dog"))[0] == ">>de<<"
    assert tokenizer.encode(">>de<< the dog")[1:] == tokenizer.encode("the dog")


@pytest.mark.slow
def test_an_imported_run_translates_aligns_and_is_explained(folders):
    """Greedy translations are those of NumPy; `explain` computes every step itself and compares."""
    folder, run = folders["all"]
    model, lines = api.load(run), ["the old dog sleeps", "a man"]
    assert model.settings.decoding.beam == 2
    assert model.settings.data.languages == ("en", "de")
    pad, order = json.loads((folder / "config.json").read_text())["pad_token_id"], orders(folder)[1].ids
    for line, found in zip(lines, model.search(lines, beam=1, max_length=6), strict=True):
        ids = [int(orders(folder)[0].ids[id_]) for id_ in model.tokenizers.source.encode(line)]
        target = [pad]
        while len(target) < 6 and target[-1] != 0:
            after = marian.logits(folder, [*ids, 0], target)[-1]
            after[pad] = -np.inf
            target.append(int(after.argmax()))
        assert [int(order[id_]) for id_ in found.tokens] == [id_ for id_ in target[1:] if id_]
    assert model.links(lines, ["ein Hund", "der Mann"])[0] is not None
    network, source = model.build(model.parameters), [*model.tokenizers.source.encode(lines[0]), 3]
    pieces = model.tokenizers.source.pieces(source)
    encoder_steps(network, source, pieces, 1)
    steps = decoder_steps(
        network, network.encode(jnp.array([source])), pieces, [2, 5], ["<s>", "x"], 0, model.tokenizers.target.pieces
    )
    assert steps.attention.has_bias


@pytest.fixture
def own(corpora, tmp_path):
    """A run with pieces that never learned, made for Marian but for the epsilon of its norms."""
    settings = toy(corpora, tmp_path / "cache")
    tokenizer = Tokenizer(kind="bpe", vocabulary=80)
    settings = dataclasses.replace(settings, tokenizer=tokenizer, model=tiny(activation="gelu"))
    return settings, untrained(settings, tmp_path / "own")


@pytest.mark.slow
def test_a_run_comes_back_from_hugging_face_as_it_was(own, tmp_path, caplog):
    settings, run = own
    Export(str(run), str(tmp_path / "hf"), "huggingface")()
    assert "LayerNorm adds 1e-05 to the variance there, and 1e-06 here" in caplog.text
    assert "logits move by up to " in caplog.text
    ImportModel(str(tmp_path / "hf"), str(tmp_path / "back"))()
    before, after = api.load(run), api.load(tmp_path / "back")
    assert after.settings.model == dataclasses.replace(settings.model, norm_epsilon=1e-5)
    assert [one.content for one in after.tokenizers] == [one.content for one in before.tokenizers]
    ours, back = flatten(before.parameters), flatten(after.parameters)
    assert ours.keys() == back.keys()
    assert all(np.array_equal(ours[name], back[name]) for name in ours)


def test_what_is_exported_computes_the_same(own, tmp_path):
    settings, run = own
    settings = dataclasses.replace(settings, model=dataclasses.replace(settings.model, norm_epsilon=1e-5,
                                                                       activation="relu"))  # fmt: skip
    folder = tmp_path / "hf"
    folder.mkdir()
    model = api.load(run)
    huggingface.write(folder, settings, model.tokenizers, flatten(jax.tree.map(np.asarray, model.parameters)))
    network = api.create(settings.model, model.tokenizers.source.size, model.tokenizers.target.size, 1)
    build = api.builder(api.split(network)[0])

    @jax.jit
    def logits(parameters):
        built = build(parameters)
        hidden, _ = built.decode(built.encode(jnp.array([[7, 9, 5, 3]])), jnp.array([[2, 8, 6]]))
        return built.output(hidden)[0]

    np.testing.assert_allclose(logits(model.parameters), marian.logits(folder, [7, 9, 5, 3], [2, 8, 6]), atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"norm": "pre"}, "--model.norm=pre"),
        ({"positions": "rotary"}, "--model.positions=rotary"),
        ({"activation": "swiglu"}, "--model.activation=swiglu"),
        ({"attention": Attention(heads=2, score="cosine", places=("cross",))}, "--model.attention.score=cosine"),
        ({"attention": Attention(heads=2, key_value_heads=1)}, "--model.attention.key-value-heads=1"),
        ({"attention": Attention(heads=2, query_key_norm=True)}, "--model.attention.query-key-norm=True"),
    ],
)
def test_what_marian_does_not_have_is_refused(own, changes, named):
    settings, run = own
    settings = dataclasses.replace(settings, model=dataclasses.replace(settings.model, **changes))
    with pytest.raises(UsageError, match=named):
        huggingface.write(run / "never", settings, load_tokenizers(Run(run).tokenizer), {})


def edited(name, **changes):
    def edit(folder):
        path = folder / name
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return edit


def tensors(change):
    def edit(folder):
        of = load_file(folder / "model.safetensors")
        change(of)
        save_file(of, folder / "model.safetensors")

    return edit


def pickled(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def outside(folder):
    (folder / "model.safetensors").rename(folder.parent / "model.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "../model.safetensors"}}))


def removed(name):
    return lambda folder: (folder / name).unlink()


BIAS, FC1 = "final_logits_bias", "model.encoder.layers.0.fc1.weight"
BAD = {
    "no config": (removed("config.json"), "has no file config.json"),
    "no tokenizer": (removed("source.spm"), "has no file source.spm"),
    "no tensors": (removed("model.safetensors"), "has no model.safetensors"),
    "a pickle": (pickled, "pytorch_model.bin is a pickle, .* convert it with python -c"),
    "a header of 2^60 bytes": (
        lambda folder: (folder / "model.safetensors").write_bytes((2**60).to_bytes(8, "little") + b"{}"),
        "cannot be read as safetensors .*header too large",
    ),
    "cut short": (
        lambda folder: (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-4]),
        "cannot be read as safetensors",
    ),
    "a path outside": (outside, "names '../model.safetensors', which is no safetensors file of this folder"),
    "another family": (edited("config.json", model_type="bart"), "model_type is 'bart'; only marian"),
    "another size of tokenizer": (edited("vocab.json", another=38), "vocab.json has 39 entries, .* asks for 38"),
    "an id twice": (edited("vocab.json", **{"▁the": 3}), "has the id 3; ids are 0 to 38, each once"),
    "a wrong shape": (tensors(lambda of: of.update({FC1: of[FC1].T.copy()})), r"fc1.weight is \[12, 10\].* \[10, 12\]"),
    "a tensor missing": (tensors(lambda of: of.pop(FC1)), f"has no tensor {FC1}"),
    "whole numbers": (tensors(lambda of: of.update({FC1: of[FC1].astype(np.int8)})), "has the type I8"),
    "not a number": (tensors(lambda of: of.update({BIAS: of[BIAS] * np.nan})), "not finite"),
    "a billion layers": (edited("config.json", encoder_layers=10**9), "has no tensor model.encoder.layers.2"),
    "a width of a billion": (edited("config.json", d_model=3 * 10**9), "asks for"),
    "a billion positions": (edited("config.json", max_position_embeddings=10**9), "max_position_embeddings=1000000000"),
    "no width": (edited("config.json", d_model=0), "at least 1"),
    "a width in words": (edited("config.json", d_model="wide"), "d_model is 'wide', and must be of the type int"),
    "another number of heads": (edited("config.json", decoder_attention_heads=6), "differ: here they are one setting"),
    "no such activation": (edited("config.json", activation_function="tanh"), "activation_function=tanh is unknown"),
    "start is end": (edited("config.json", decoder_start_token_id=0), "must be different"),
    "not JSON": (lambda folder: (folder / "config.json").write_text("{"), "config.json is damaged: line 1"),
    "not a tokenizer": (lambda folder: (folder / "target.spm").write_bytes(b"spm"), "is not a sentencepiece model"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_folder_is_refused_in_a_line(folders, tmp_path, case):
    spoil, message = BAD[case]
    shutil.copytree(folders["all"][0], tmp_path / "hf")
    spoil(tmp_path / "hf")
    with pytest.raises(TransformerError, match=message) as raised:
        ImportModel(str(tmp_path / "hf"), str(tmp_path / "run"))()
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("kind", ["float16", "bfloat16", "float64"])
def test_other_floating_point_types_are_read(folders, tmp_path, kind):
    whole = folders["all"][0]
    shutil.copytree(whole, tmp_path / "hf")
    of = {name: value.astype(jnp.dtype(kind)) for name, value in load_file(whole / "model.safetensors").items()}
    save_file(of, tmp_path / "hf" / "model.safetensors")
    ours, theirs = (huggingface.read(folder).parameters["embed_source.table"] for folder in (whole, tmp_path / "hf"))
    assert theirs.dtype == np.float32
    np.testing.assert_allclose(ours, theirs, rtol=0 if kind == "float64" else 2**-8)


def test_a_model_in_several_files_is_read(folders, tmp_path):
    whole = folders["all"][0]
    shutil.copytree(whole, tmp_path / "hf")
    of, index = load_file(whole / "model.safetensors"), {}
    for number, names in enumerate((sorted(of)[::2], sorted(of)[1::2])):
        save_file({name: of[name] for name in names}, tmp_path / "hf" / f"model-{number}.safetensors")
        index |= dict.fromkeys(names, f"model-{number}.safetensors")
    (tmp_path / "hf" / "model.safetensors").unlink()
    (tmp_path / "hf" / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    ours, theirs = (huggingface.read(folder).parameters for folder in (whole, tmp_path / "hf"))
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)


def test_an_imported_run_cannot_be_resumed(folders):
    settings, run = api.load(folders["all"][1]).settings, folders["all"][1]
    with pytest.raises(UsageError, match="was imported and has no training to resume: fine-tune it with --init-from"):
        train(settings, run, "imported", resume=True)


@pytest.mark.slow
def test_an_imported_run_is_fine_tuned(folders, corpora, tmp_path):
    run = folders["all"][1]
    settings = api.load(run).settings
    data = dataclasses.replace(
        settings.data, languages=("xx", "yy"), train=str(corpora / "train"), validation=str(corpora / "validation"),
        max_length=32, cache=str(tmp_path / "cache"),
    )  # fmt: skip
    training = dataclasses.replace(settings.training, steps=40, log_every=10, validate_every=20)
    schedule = dataclasses.replace(settings.schedule, peak=3e-3, warmup=10)
    batching = dataclasses.replace(settings.batching, tokens=512, shapes=1)
    task = dataclasses.replace(settings.task, validate_sentences=0, metric="loss")
    settings = dataclasses.replace(
        settings, data=data, training=training, schedule=schedule, batching=batching, task=task
    )
    train(settings, tmp_path / "tuned", "tuned", init_from=run)
    records = [json.loads(line) for line in Run(tmp_path / "tuned").metrics.read_text().splitlines()]
    losses = [record["loss"] for record in records if record["kind"] == "validation"]
    assert losses[-1] < losses[0]
    assert api.load(tmp_path / "tuned").translate(["the dog"])
