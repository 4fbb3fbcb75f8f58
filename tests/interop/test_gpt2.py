"""GPT2LMHeadModel of Hugging Face as a run, against plain NumPy, which is held to outputs of transformers 5.24.

GOLDEN are the first four logits after the last token of GPT2LMHeadModel.from_pretrained(...) of the folder that
gpt2.make writes, applied to IDS.
"""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.interop import gpt2
from transformer import api
from transformer.commands.import_model import ImportModel
from transformer.errors import TransformerError, UsageError
from transformer.interop import gpt2 as reader

IDS = [276, 5, 77, 260, 270, 12]
GOLDEN = [-0.5658, -0.5702, 0.945, -1.0403]


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gpt2")
    vocabulary, tensors = gpt2.make(folder / "hf")
    ImportModel(str(folder / "hf"), str(folder / "run"))()
    return folder / "hf", vocabulary, tensors, api.load_predictor(folder / "run", max_length=6, beam=1)


def test_logits_are_those_of_transformers(imported):
    _, vocabulary, tensors, model = imported
    expected = gpt2.logits(tensors, IDS)
    np.testing.assert_allclose(expected[-1, :4], GOLDEN, atol=1e-4)

    @jax.jit
    def logits(parameters, ids):
        network = model.build(parameters)
        return network.output(network.decode(network.without_source(1), ids)[0])[0]

    end = len(vocabulary) - 1
    ids = [2 if id_ == end else id_ + 4 for id_ in IDS]
    found = np.asarray(logits(model.parameters, jnp.array([ids])))
    np.testing.assert_allclose(found[:, 4:], expected[:, :end], atol=1e-5)
    np.testing.assert_allclose(found[:, 3], expected[:, end], atol=1e-5)
    assert (found[:, :3] < -1_000).all(), "what GPT-2 does not have is never written"


@pytest.mark.slow
def test_greedy_continuations_are_those_of_numpy(imported):
    _, vocabulary, tensors, model = imported
    end, tokenizer = len(vocabulary) - 1, model.predictor.tokenizer
    prompts = ["the old", "", "dogs sleep"]
    for prompt, found in zip(prompts, model.predict(prompts), strict=True):
        ids = [end, *(id_ - 4 for id_ in tokenizer.encode(prompt))]
        written = []
        for _ in range(6):
            values = gpt2.logits(tensors, [*ids, *written])[-1]
            written.append(int(values[:end].argmax()))
        assert found.text == tokenizer.decode([id_ + 4 for id_ in written]).replace("\\", "\\\\").replace("\n", "\\n")


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (
            {"scale_attn_by_inverse_layer_idx": True},
            UsageError,
            "scale_attn_by_inverse_layer_idx=True has no counterpart",
        ),
        ({"activation_function": "tanh"}, UsageError, "activation_function=tanh is unknown here"),
        ({"n_head": 5}, UsageError, "--model.width=12 does not divide"),
        ({"n_embd": 24}, TransformerError, r"wte.weight is \[277, 12\], and config.json asks for \[277, 24\]"),
        ({"n_layer": 3}, TransformerError, "no tensor transformer.h.2"),
        ({"vocab_size": 300}, TransformerError, "does not number 300 entries from 0 on"),
        ({"n_positions": "many"}, TransformerError, "n_positions is 'many'"),
    ],
)
def test_folders_that_do_not_fit_are_refused(changes, error, message, imported, tmp_path):
    for path in imported[0].iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text()) | changes
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(error, match=message):
        reader.read(tmp_path)


def test_damaged_tokenizers_are_refused(imported, tmp_path):
    for path in imported[0].iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    merges = (tmp_path / "merges.txt").read_text()
    (tmp_path / "merges.txt").write_text(merges + "dog zzz\n")
    with pytest.raises(TransformerError, match="no byte-level BPE"):
        reader.read(tmp_path)
    (tmp_path / "merges.txt").unlink()
    with pytest.raises(TransformerError, match=r"merges\.txt cannot be read"):
        reader.read(tmp_path)
    vocabulary = {piece: id_ for piece, id_ in imported[1].items() if piece != "<|endoftext|>"}
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary | {"zzz": 276}))
    with pytest.raises(TransformerError, match=r"has no <\|endoftext\|>"):
        reader.read(tmp_path)
