"""config.json of a run: damaged, of another version, or made by hand."""

import json
import math

import pytest

from transformer import cli
from transformer.config import Config, read_config, to_json
from transformer.errors import TransformerError, UsageError
from transformer.plugins import MissingPluginError
from transformer.storage.files import DamagedFileError
from transformer.storage.run import Run


@pytest.fixture
def run(tmp_path):
    """A run directory with the default settings, and nothing else."""
    write(tmp_path, {"recipe": "toy", "init_from": None, "identity": {}, "config": to_json(Config())})
    return tmp_path


def write(folder, values):
    Run(folder).config.write_text(json.dumps(values))


def changed(folder, *path, value):
    """Set one value of config.json, named by its path."""
    values = json.loads(Run(folder).config.read_text())
    inner = values
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    write(folder, values)


def test_intact_settings_are_read(run):
    assert read_config(run) == Config()


@pytest.mark.parametrize(
    ("path", "value", "error", "message"),
    [
        (
            ("config", "training", "stepz"),
            3,
            UsageError,
            r"unknown field 'stepz' \(did you mean steps\?\); was the run",
        ),
        (
            ("config", "model", "kind"),
            "transfomer",
            UsageError,
            r"unknown kind 'transfomer' \(did you mean transformer\?",
        ),
        (("config", "model", "kind"), 3, UsageError, "unknown kind 3"),
        (("config", "training", "steps"), "10", DamagedFileError, "--training.steps is '10': it must be int"),
        (("config", "training", "steps"), 2.5, DamagedFileError, "--training.steps is 2.5: it must be int"),
        (("config", "training", "steps"), None, DamagedFileError, "--training.steps is None: it must be int"),
        (("config", "schedule", "peak"), math.nan, DamagedFileError, "--schedule.peak must be at least 0, not nan"),
        (("config", "model", "width"), -8, DamagedFileError, "--model.width must be at least 1, not -8"),
        (("config", "data", "languages"), ["en", 7], DamagedFileError, "--data.languages is .*'en', 7.: it must be"),
        (("config", "training"), [], DamagedFileError, r"damaged: config.training is \[\], not an object"),
        (("config", "model"), "big", DamagedFileError, "damaged: config.model is 'big', not an object"),
        (("config",), None, DamagedFileError, "damaged: config is None, not an object"),
        (("plugins",), 5, DamagedFileError, "damaged: `plugins` is 5"),
        (("plugins",), [{"file": "x.py"}], DamagedFileError, "damaged: `plugins` is "),
        (
            ("plugins",),
            [{"file": "x", "sha256": "", "registers": ["score s"]}],
            MissingPluginError,
            "needs the plugin x",
        ),
    ],
)
def test_errors_name_the_problem(run, path, value, error, message):
    changed(run, *path, value=value)
    with pytest.raises(error, match=message) as raised:
        read_config(run)
    if error is not MissingPluginError:
        assert str(raised.value).startswith(str(Run(run).config))


def test_an_object_without_settings_is_damaged_or_not_from_a_run(tmp_path):
    write(tmp_path, {"name": "another program"})
    with pytest.raises(DamagedFileError, match="damaged or not from a run: it has no `config`"):
        read_config(tmp_path)


@pytest.mark.parametrize("content", ["5", "", "{", "[]", "\x00\x01", '{"config": NaN}'])
def test_commands_end_with_one_line(tmp_path, capsys, content):
    Run(tmp_path).config.write_text(content)
    for command in (["translate", str(tmp_path)], ["train", str(tmp_path), "--resume"], ["evaluate", str(tmp_path)]):
        with pytest.raises(SystemExit) as end:
            cli.main(command)
        assert end.value.code == 1
        error = capsys.readouterr().err
        assert "config.json is damaged" in error
        assert len(error.splitlines()) == 1


def test_damage_is_a_failure_and_not_wrong_usage():
    assert issubclass(DamagedFileError, TransformerError)
    assert DamagedFileError.exit_code == 1
