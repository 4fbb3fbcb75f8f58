"""Parts from a file outside the package: an attention score end to end, and what is refused."""

import json
import sys
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.test_cli import run
from transformer import cli, plugins
from transformer.attention.config import Attention
from transformer.attention.mechanism import Mechanism
from transformer.attention.scores import SCORES
from transformer.errors import UsageError
from transformer.models.families import FAMILIES
from transformer.plugins import Table

SCORE = '''
"""Minus the squared distance of query and key."""

import jax.numpy as jnp

from transformer.attention.scores import SCORES, Score


def nearness(query, keys, weights):
    return -jnp.sum((query[..., :, None, :] - keys[..., None, :, :]) ** 2, -1)


SCORES["nearness"] = Score(nearness, equal_widths=True)
'''

NORMALIZER = '''
"""Shares of the positive energies."""

import jax
import jax.numpy as jnp

from transformer.attention.normalizers import NORMALIZERS, Normalizer


def relu(energies, mask, alpha, weights):
    positive = jnp.where(mask, jax.nn.relu(energies + weights["shift_bias"]), 0)
    return positive / jnp.maximum(positive.sum(-1, keepdims=True), 1e-9)


NORMALIZERS["relu"] = Normalizer(relu, lambda sizes: {"shift_bias": lambda key: jnp.zeros(())}, can_be_guided=False)
'''

STUDY = """
import dataclasses

from transformer import recipes
from transformer.study.variants import Study, Variant

study = Study({{"near": Variant(recipes.find({run!r})[1], scoring={{"tokenize": "none"}})}})
"""

SIZE = ("--model.encoder-layers", "1", "--model.decoder-layers", "1", "--tokenizer.kind", "word")


def forget(*files):
    """As if this process had just started."""
    for file in map(str, files):
        plugins._loaded.pop(file, None)
        for table in plugins._tables.values():
            table.forget(file)


@pytest.fixture
def file(trained):
    """The plugin, not loaded."""
    yield trained[1]
    forget(trained[1])


@pytest.fixture(scope="module")
def trained(corpora, tmp_path_factory):
    """A run whose attention has the score of a file, and the file."""
    folder = tmp_path_factory.mktemp("plugins")
    file = folder / "nearness.py"
    file.write_text(SCORE)
    code = run(
        *("--plugin", str(file), "train", "files", "--smoke", "--run", str(folder / "run"), *SIZE),
        *("--data.train", str(corpora / "train"), "--data.languages", "xx", "yy"),
        *("--data.test", str(corpora / "test"), "--data.cache", str(folder / "cache")),
        *("--model.attention.score", "nearness"),
    )
    assert code == 0
    forget(file)
    return folder / "run", file


def test_a_custom_score_works_end_to_end(trained, file, corpora, tmp_path, capsys):
    folder, source = trained[0], corpora / "test.xx"
    plugin = ("--plugin", str(file))
    records = json.loads((folder / "config.json").read_text())["plugins"]
    assert records == [{"file": str(file), "sha256": plugins._sha256(file), "registers": ["score nearness"]}]
    output = tmp_path / "out"
    assert run("translate", str(folder), *plugin, "--input", str(source), "--output", str(output)) == 0
    assert len(output.read_text().splitlines()) == 16
    assert run("evaluate", str(folder), f"--plugin={file}") == 0
    assert "BLEU" in capsys.readouterr().out
    assert run(*plugin, "align", str(folder), "--formats", "json", "--output", str(tmp_path / "links")) == 0
    about = json.loads((tmp_path / "links" / "about.json").read_text())
    assert about["attention"]["score"] == "nearness"
    (tmp_path / "near").mkdir()
    (tmp_path / "near" / "study.py").write_text(STUDY.format(run=str(folder)))
    study = ("study", str(tmp_path / "near"), "--runs", str(tmp_path / "runs"), "--smoke", "--trial", "near-1")
    assert run(*study, *plugin) == 0
    assert (tmp_path / "runs-smoke" / "near-1" / "result.json").is_file()


def test_a_run_without_its_plugin_says_which_and_how_to_give_it(trained, file, capsys):
    missing = rf"needs the plugin {file} (sha256 {plugins._sha256(file)[:12]}), which registers the score nearness"
    for command in (["translate"], ["evaluate"], ["align"], ["train", "--resume"]):
        assert run(command[0], str(trained[0]), *command[1:]) == 2
        error = capsys.readouterr().err
        assert missing in error
        assert f"give --plugin {file}" in error
        assert "Traceback" not in error
    assert "nearness" not in SCORES, "nothing is imported because a run says so"


def test_a_changed_plugin_causes_a_warning(trained, file, tmp_path, caplog):
    other = tmp_path / "other.py"
    other.write_text(SCORE + "\n# Another one.\n")
    cli.parse(["--plugin", str(other), "translate", str(trained[0])]).check()
    forget(other)
    assert f"was made with the plugin {file}" in caplog.text
    assert plugins._sha256(other)[:12] in caplog.text


def test_a_custom_normalizer_is_a_function_and_an_entry(tmp_path):
    """It is found by name, has its own parameters for each head, and is recorded because the settings need it."""
    file = tmp_path / "relu.py"
    file.write_text(NORMALIZER)
    attention = Attention(score="dot", normalizer="relu", alpha=1.2)
    with pytest.raises(UsageError, match="normalizer=relu is unknown"):
        attention.check()
    plugins.load([file])
    try:
        attention.check()
        assert [record["registers"] for record in plugins.needed(attention)] == [["normalizer relu"]]
        mechanism = Mechanism(attention, 1, 1, 2, rngs=nnx.Rngs(1))
        mechanism.normalizer_weights["shift_bias"][...] = jnp.array([0.0, 1.0])
        query, keys = jnp.ones((1, 2, 1, 1)), jnp.tile(jnp.array([1.0, -0.5, 3.0, 9.0])[:, None], (1, 2, 1, 1))
        mask = jnp.array([[[[True, True, True, False]]]])
        _, weights = mechanism(query, keys, keys, mask, jnp.zeros((1, 1), jnp.int32), jnp.array([3]))
        np.testing.assert_allclose(weights[0, 0, 0], [0.25, 0, 0.75, 0], rtol=1e-6)
        np.testing.assert_allclose(weights[0, 1, 0], np.array([2, 0.5, 4, 0]) / 6.5, rtol=1e-6)
    finally:
        forget(file)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('SCORES["dot"] = None', "registers the score 'dot', which is built in"),
        ("SCORES.update(dot=None)", "registers the score 'dot', which is built in"),
        ('SCORES["taken"] = None', "registers the score 'taken', which .*first.py has registered too"),
        ("1 / 0", "ZeroDivisionError"),
        ("class Stop(BaseException): pass\nraise Stop", "failed: Stop"),
    ],
)
def test_names_are_registered_once(text, complaint, tmp_path):
    start = "from transformer.attention.scores import SCORES\n"
    first, second = tmp_path / "first.py", tmp_path / "second.py"
    first.write_text(start + 'SCORES["taken"] = None')
    second.write_text(start + 'SCORES["begun"] = None\n' + text)
    plugins.load([first])
    try:
        plugins.load([first])  # once is enough
        with pytest.raises(UsageError, match=complaint):
            plugins.load([second])
        assert "begun" not in SCORES
        assert SCORES["dot"] is not None
        assert plugins.loaded()[-1] == (str(first), plugins._sha256(first))
        assert plugins.arguments()[-2:] == ["--plugin", str(first)]
    finally:
        forget(first)


def test_a_file_that_is_not_a_plugin_is_refused(tmp_path, capsys):
    assert run("train", "grammar", "--plugin", str(tmp_path / "none.py")) == 2
    assert "there is no such file" in capsys.readouterr().err
    assert run("train", "grammar", "--plugin") == 2
    assert "--plugin needs a file" in capsys.readouterr().err


FAMILY = """
from dataclasses import dataclass

from transformer.models.families import FAMILIES
from transformer.models.rnn.config import Rnn


@dataclass(frozen=True)
class Small(Rnn):
    "A recurrent model with a setting of its own."

    colour: int = 3
    "A setting that no other family has."


FAMILIES["small"] = Small
"""


def test_options_are_those_of_the_recipes_family_and_task(tmp_path, capsys):
    (tmp_path / "small.py").write_text(FAMILY)
    recipe = tmp_path / "recipe.py"
    recipe.write_text(
        "from transformer.config import Config\nfrom transformer.models.families import FAMILIES\n"
        "config = Config(model=FAMILIES['small'](width=8, embedding=8))"
    )
    plugin = ("--plugin", str(tmp_path / "small.py"))
    try:
        assert run("train", str(recipe), *plugin, "--help") == 0
        out = capsys.readouterr().out
        for flag in ("--model.colour", "--model.embedding", "--model.attention.score", "--task.label-smoothing"):
            assert flag in out
        assert "--model.encoder-heads" not in out
        command: Any = cli.parse(["train", str(recipe), *plugin, "--model.colour", "7", "--model.width", "16"])
        assert (command.config.model.colour, command.config.model.width) == (7, 16)
        assert type(command.config.model) is FAMILIES["small"]
        assert plugins.needed(command.config)[0]["registers"] == ["model family small"]
        assert sys.modules[type(command.config.model).__module__].Small is FAMILIES["small"]
    finally:
        forget(tmp_path / "small.py")


def test_a_table_is_a_dict_that_refuses_to_lose_entries():
    table = Table("colour", {"red": 1})
    table["blue"] = 2
    table |= {"green": 3}
    assert table.setdefault("red", 9) == 1
    assert table.setdefault("white", 4) == 4
    assert dict(table) == {"red": 1, "blue": 2, "green": 3, "white": 4}
    assert table.file_of("red") is None
    assert table.file_of("white") == table.file_of("blue") == __file__
    del table["blue"]
    table["blue"] = 5
    with pytest.raises(UsageError, match="'red', which is built in"):
        table["red"] = 1
    del plugins._tables["colour"]
