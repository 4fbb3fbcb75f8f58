"""Commands as a user types them: what they print, where, and the exit code. Never a traceback."""

import dataclasses
import json
import logging
import os
import shutil
import subprocess
import sys
import typing
from pathlib import Path
from typing import Any

import pytest

import transformer
from transformer import check, cli, recipes
from transformer.commands.demo import Demo
from transformer.commands.options import Search
from transformer.commands.table import COMMANDS
from transformer.commands.translate import Translate
from transformer.config import Config, Decoding, from_json, to_json
from transformer.errors import UsageError
from transformer.training import run_directory as rundir


def run(*arguments: str) -> int:
    """Exit code of a command in this process."""
    try:
        cli.main(list(arguments))
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


@pytest.fixture
def stdin(tmp_path: Path):
    """A function that makes bytes the standard input of this process."""
    before = os.dup(0)

    def feed(content: bytes) -> None:
        (tmp_path / "stdin").write_bytes(content)
        with (tmp_path / "stdin").open("rb") as file:
            os.dup2(file.fileno(), 0)

    yield feed
    os.dup2(before, 0)
    os.close(before)


@pytest.fixture(scope="session")
def trained(corpora: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the recipe `files` on the toy language."""
    folder = tmp_path_factory.mktemp("runs") / "toy"
    code = run(
        *("train", "files", "--smoke", "--run", str(folder)),
        *("--data.train", str(corpora / "train"), "--data.languages", "xx", "yy"),
        *("--data.test", str(corpora / "test"), "--data.cache", str(folder.parent / "cache")),
        *("--batching.shapes", "1"),
    )
    assert code == 0
    return folder


def test_translate_keeps_lines_order_and_empty_lines(trained, tmp_path, capsys, stdin):
    lines = ["ba be", "", "bi", "   ", "ma me mi"]
    stdin("".join(x + "\n" for x in lines).encode())
    assert run("translate", str(trained)) == 0
    out = capsys.readouterr().out.split("\n")
    assert len(out) == 6
    assert out[5] == ""
    assert out[1] == out[3] == ""
    source, target = tmp_path / "in.txt", tmp_path / "out.txt"
    source.write_text("".join(x + "\n" for x in lines))
    assert run("translate", str(trained), "--input", str(source), "--output", str(target)) == 0
    assert target.read_text().split("\n") == out


def test_translate_never_overwrites(trained, tmp_path, capsys):
    (tmp_path / "out.txt").write_text("mine")
    (tmp_path / "in.txt").write_text("ba\n")
    arguments = ("translate", str(trained), "--input", str(tmp_path / "in.txt"), "--output", str(tmp_path / "out.txt"))
    assert run(*arguments) == 2
    assert (tmp_path / "out.txt").read_text() == "mine"
    assert "exists" in capsys.readouterr().err


def test_a_failed_translation_leaves_no_output_under_its_name(trained, tmp_path, capsys):
    (tmp_path / "in.txt").write_bytes(b"ba\n\xff\n")
    files = ("--input", str(tmp_path / "in.txt"), "--output", str(tmp_path / "out.txt"))
    assert run("translate", str(trained), *files) == 1
    assert not (tmp_path / "out.txt").exists()
    (tmp_path / "in.txt").write_bytes("\ufeffba\r\nbe\u2028bi\n".encode())
    assert run("translate", str(trained), *files) == 0
    assert len((tmp_path / "out.txt").read_text().split("\n")) == 3, "two lines, both ended"


SEARCH = {"--beam": "0", "--batch": "-3", "--length-penalty": "-1"}


@pytest.mark.parametrize("flag", SEARCH)
def test_settings_of_a_search_out_of_range(trained, flag, stdin, capsys):
    stdin(b"ba\n")
    assert run("translate", str(trained), flag, SEARCH[flag]) == 2
    assert f"transformer: {flag} must be" in capsys.readouterr().err


def test_translate_reports_invalid_utf8_with_its_line(trained, tmp_path, capsys, stdin):
    (tmp_path / "in.txt").write_bytes(b"ba\nb\xff\n")
    assert run("translate", str(trained), "--input", str(tmp_path / "in.txt")) == 1
    error = capsys.readouterr().err
    assert "in.txt" in error
    assert "line 2" in error
    stdin(b"ba\nbe\n\xfe\n")
    assert run("translate", str(trained)) == 1
    assert "standard input, line 3" in capsys.readouterr().err


def test_a_line_longer_than_the_model_is_truncated_and_reported(trained, capsys, stdin, caplog):
    stdin(b"ba\n" + b"ba be bi " * 400 + b"\n")
    assert run("translate", str(trained)) == 0
    assert len(capsys.readouterr().out.split("\n")) == 3
    assert "lines truncated to 256 tokens: 1 (first: line 2)" in caplog.text


def test_evaluate_prints_and_keeps_the_scores(trained, capsys):
    assert run("evaluate", str(trained), "--beam", "2") == 0
    out = capsys.readouterr().out
    for part in ("BLEU", "chrF2", "TER", "nrefs:1|", "perplexity", "BLEU by source length", "beam 2"):
        assert part in out
    report = json.loads((trained / "report" / "test.json").read_text())
    assert report["sentences"] == 16
    assert report["scores"]["BLEU"]["signature"].startswith("nrefs:1")
    assert sum(row["sentences"] for row in report["by_length"]) == 16
    assert len((trained / "report" / "test.hypotheses").read_text().splitlines()) == 16


def test_evaluate_against_itself_is_no_difference(trained, capsys):
    assert run("evaluate", str(trained)) == 0
    assert run("evaluate", str(trained), "--against", str(trained)) == 0
    out = capsys.readouterr().out
    for name in ("BLEU", "chrF2", "TER"):
        assert f"against {trained}: +0.00 {name}, p = 1.000, 95% [+0.00, +0.00]" in out
    assert "paired bootstrap resampling, two-sided, 2,000 resamples of 16 sentences" in out
    assert "beam 5, from its report test.json" in out


def test_evaluate_on_other_files(trained, tmp_path, corpora, capsys):
    arguments = ["--source", str(corpora / "validation.xx"), "--reference", str(corpora / "validation.yy")]
    assert run("evaluate", str(trained), *arguments) == 0
    assert "24 sentences" in capsys.readouterr().out
    (report,) = (trained / "report").glob("validation.xx-????????.json")
    assert json.loads(report.read_text())["sentences"] == 24
    assert report.with_suffix(".hypotheses").is_file()
    assert run("evaluate", str(trained), *arguments[:2]) == 2
    empty = tmp_path / "empty"
    empty.touch()
    assert run("evaluate", str(trained), "--source", str(empty), "--reference", str(empty)) == 1
    arguments[3] = str(corpora / "test.yy")
    assert run("evaluate", str(trained), *arguments) == 1
    assert "24 lines but" in capsys.readouterr().err


def test_evaluate_against_a_run_on_a_set_of_files(trained, tmp_path, corpora, capsys):
    """The file has the name of the run's own set but different sentences: it is scored and compared separately."""
    for suffix in ("xx", "yy"):
        shutil.copy(corpora / f"validation.{suffix}", tmp_path / ("test" if suffix == "xx" else "reference"))
    files = ["--source", str(tmp_path / "test"), "--reference", str(tmp_path / "reference"), "--metrics", "bleu"]
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        shutil.copytree(trained, folder, ignore=shutil.ignore_patterns("report"))
        (folder / "report").mkdir()
        (folder / "report" / "test.json").write_text("{}")
    assert run("evaluate", str(one), *files, "--against", str(other)) == 0
    out = capsys.readouterr().out
    assert f"against {other}: +0.00 BLEU, p = 1.000" in out
    assert "2,000 resamples of 24 sentences" in out
    assert "TER" not in out
    assert "predicted now, kept as its report test-" in out
    for folder in (one, other):
        assert (folder / "report" / "test.json").read_text() == "{}"
        (path,) = (folder / "report").glob("test-????????.json")
        assert json.loads(path.read_text())["sentences"] == 24
    assert run("evaluate", str(one), *files[:4], "--metrics") == 2
    assert run("evaluate", str(one), *files[:4], "--metrics", "blue") == 2
    assert "Traceback" not in capsys.readouterr().err


def test_python_api(trained):
    model = transformer.load(trained)
    assert model.translate([]) == []
    with pytest.raises(UsageError, match="a list of lines"):
        model.search("ba be")
    both = model.translate(["ba be", "bi"])
    assert model.translate(["bi"]) == both[1:]
    assert model.translate("ba be") == both[0]
    scores = model.score(["ba be", "bi"], ["BE BA", "BI"])
    assert scores.tokens.tolist() == [len(model.tokenizers.target.encode(t)) + 1 for t in ("BE BA", "BI")]
    assert (scores.logp < 0).all()
    with pytest.raises(UsageError, match="1 source but 2 targets"):
        model.score(["a"], ["b", "c"])


BAD = {
    "unknown recipe": (["train", "gramar"], 2, "did you mean grammar?"),
    "typo in an override": (["train", "grammar", "--model.widht", "3"], 2, "--model.width"),
    "bad type": (["train", "grammar", "--model.width", "wide"], 2, "invalid"),
    "no recipe": (["train"], 2, "RECIPE"),
    "options before the recipe": (["train", "--smoke", "files"], 2, "the recipe comes first"),
    "no layers": (["train", "grammar", "--model.encoder-layers", "0"], 2, "--model.encoder-layers must be at least 1"),
    "no heads": (["train", "grammar", "--model.attention.heads", "0"], 2, "--model.attention.heads"),
    "all dropped": (["train", "grammar", "--model.dropout", "1.5"], 2, "--model.dropout must be from 0 to 0.999"),
    "rate is no number": (["train", "grammar", "--schedule.peak", "nan"], 2, "--schedule.peak"),
    "negative penalty": (["train", "grammar", "--decoding.length-penalty", "-1"], 2, "--decoding.length-penalty"),
    "average of one": (["train", "grammar", "--training.average", "last"], 2, "--training.keep-last"),
    "bleu of nothing": (["train", "grammar", "--task.validate-sentences", "0"], 2, "--task.metric"),
    "grammar of two words": (["train", "grammar", "--data.grammar.max-words", "2"], 2, "--data.grammar.max-words"),
    "demo in a folder of others": (["demo", "--run", "configs"], 2, "not a run directory"),
    "no command": ([], 2, "train"),
    "unknown command": (["trian"], 2, "train"),
    "no such run": (["translate", "runs/none"], 2, "no run directory at runs/none"),
    "not a run": (["evaluate", "configs"], 2, "not a run directory"),
    "missing file": (["train", "files", "--data.train", "nowhere/train"], 1, "nowhere/train.en"),
    "heads do not divide": (["train", "grammar", "--model.attention.heads", "3"], 2, "--model.attention.heads=3"),
    "unknown score": (["train", "grammar", "--model.attention.score", "scaleddot"], 2, "scaled_dot"),
    "unknown corpus": (["train", "grammar", "--data.source", "gramar"], 2, "did you mean grammar"),
    "tied without joint": (["train", "files", "--tokenizer.joint", "False"], 2, "--model.tie"),
    "budget too small": (["train", "grammar", "--batching.tokens", "64"], 2, "--batching.tokens=64"),
    "too many devices": (["train", "grammar", "--smoke", "--mesh.data", "4096"], 2, "--mesh.data=4096"),
    "zero steps": (["train", "grammar", "--training.steps", "0"], 2, "--training.steps must be at least 1"),
    "init from nothing": (["train", "grammar", "--init-from", "runs/none"], 2, "runs/none"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_one_message_and_its_exit_code(case, capsys, tmp_path):
    arguments, code, text = BAD[case]
    if arguments[:1] == ["train"] and len(arguments) > 1:
        arguments = [*arguments, "--run", str(tmp_path / "run"), "--data.cache", str(tmp_path / "cache")]
    assert run(*arguments) == code
    error = capsys.readouterr().err
    assert text in error
    assert "Traceback" not in error


def test_bad_recipe_files(tmp_path, capsys):
    (tmp_path / "broken.py").write_text("import nothing_of_that_name")
    assert run("train", str(tmp_path / "broken.py")) == 2
    assert "nothing_of_that_name" in capsys.readouterr().err
    (tmp_path / "empty.py").write_text("x = 1")
    assert run("train", str(tmp_path / "empty.py")) == 2
    assert "must define `config`" in capsys.readouterr().err


def test_damaged_config_of_a_run(tmp_path, capsys):
    (tmp_path / "config.json").write_text("{")
    assert run("translate", str(tmp_path)) == 1
    assert "config.json is damaged" in capsys.readouterr().err


def test_full_memory_is_one_line_that_names_what_to_lower(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(Translate, "check", lambda _: None)
    for error in (MemoryError("Unable to allocate 4. TiB"), RuntimeError("RESOURCE_EXHAUSTED: Out of memory\nmore")):
        monkeypatch.setattr(Translate, "execute", lambda _, error=error: (_ for _ in ()).throw(error))
        assert run("translate", str(tmp_path)) == 1
        first = str(error).splitlines()[0]
        expected = f"transformer: memory is full ({first}): lower --batch, --beam (or --samples) or --workers\n"
        assert capsys.readouterr().err == expected


def test_interrupt_before_training_is_no_traceback(monkeypatch, capsys):
    monkeypatch.setattr(Demo, "execute", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    assert run("demo") == 130
    assert "interrupted" in capsys.readouterr().err


def test_the_version_names_the_package_and_what_its_results_depend_on(capsys):
    assert run("--version") == 0
    out = capsys.readouterr().out
    assert out.startswith(f"attention-transformer {rundir.provenance()['version']} (jax ")
    assert "flax " in out


def test_help_lists_every_command(capsys):
    for arguments, words in ((["--help"], COMMANDS), (["data", "-h"], ("data inspect", "data prepare"))):
        assert run(*arguments) == 0
        out = capsys.readouterr().out
        for word in words:
            assert f"  {word} " in out
        assert "--plugin FILE" in out


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_begins_with_its_summary(name, capsys):
    assert run(*name.split(), "--help") == 0
    out = " ".join(capsys.readouterr().out.split())
    assert out.startswith(f"usage: transformer {name} ")
    assert COMMANDS[name].summary.removesuffix(".") in out
    assert "--plugin FILE" in out


def test_options_of_the_search_are_its_settings():
    given, settings = typing.get_type_hints(Search), typing.get_type_hints(Decoding)
    assert given.keys() == {field.name for field in dataclasses.fields(Decoding)} - {"attention"}
    for name, hint in given.items():
        assert hint in (settings[name], settings[name] | None)
    assert Search().overrides() == {}
    assert Search(beam=2, length_penalty=0.0, replace_unknown=True).overrides() == {
        "beam": 2,
        "length_penalty": 0.0,
        "replace_unknown": True,
    }


def test_only_commands_that_compute_restart_the_process(trained, tmp_path, capsys):
    class StartedAnew(Exception):  # noqa: N818
        pass

    def start():
        raise StartedAnew

    def code(*arguments):
        with pytest.raises((SystemExit, StartedAnew)) as stop:
            cli.main(arguments, before_computing=start)
        return getattr(stop.value, "code", "restarted")

    run_folder, exists = str(trained), str(tmp_path)
    assert code("translate", run_folder) == code("train", "demo", "--run", str(tmp_path / "run")) == "restarted"
    assert code("align", run_folder) == code("explain", run_folder, "ba") == "restarted"
    for arguments in (
        ["--help"],
        ["--version"],
        ["translate", "--help"],
        ["data", "inspect", "demo", "--help"],
    ):
        assert code(*arguments) == 0
    for arguments in (
        [],
        ["trian"],
        ["data"],
        ["report", str(tmp_path / "none")],
    ):
        assert code(*arguments) == 2
    for arguments in (
        ["translate", exists],
        ["translate", run_folder, "--output", exists],
        ["translate", run_folder, "--beam", "0"],
        ["train", "demo", "--model.width", "0"],
        ["evaluate", run_folder, "--source", "x"],
        ["align", run_folder, "--head", "9"],
    ):
        # Before the options are read, so that they are read once; the new process refuses them.
        assert code(*arguments) == "restarted"
        with pytest.raises(SystemExit) as stop:
            cli.main(arguments)
        assert stop.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


def test_module_and_console_script_are_the_same():
    def help_of(*command):
        return subprocess.run([*command, "train", "--help"], capture_output=True, text=True, check=True).stdout

    script = Path(sys.executable).parent / "transformer"
    assert help_of(str(script)) == help_of(sys.executable, "-m", "transformer")


def test_help_names_every_setting(capsys):
    assert run("train", "grammar", "--help") == 0
    out = capsys.readouterr().out
    for flag in ("--data.source", "--model.attention.score", "--task.label-smoothing", "--seed", "--resume"):
        assert flag in out


def test_config_survives_json():
    config = Config(seed=7)
    assert from_json(json.loads(json.dumps(to_json(config)))) == config
    with pytest.raises(UsageError, match="unknown field 'colour'"):
        from_json({**to_json(config), "colour": "red"})


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_has_a_docstring_is_consistent_and_shrinks(name):
    path = recipes.folder() / f"{name}.py"
    assert path.read_text().startswith('"""')
    _, settings = recipes.find(name)
    check.everything(settings)
    small = recipes.smoke(settings)
    check.everything(small)
    assert small.training.steps <= 100


def test_provenance_names_the_commit():
    found = rundir.provenance()
    assert found["version"]
    assert found["commit"] is None or len(found["commit"].split("+")[0]) == 40


def smoked(*arguments):
    parsed: Any = cli.parse(["train", "grammar", "--smoke", *arguments])
    return parsed.config


def test_smoke_leaves_options_that_are_given(caplog):
    """Including options with the recipe's own value; derived settings follow from the given option."""
    default: Any = recipes.find("grammar")[1]
    assert smoked() == recipes.smoke(default)
    steps, width = default.training.steps, default.model.width
    with caplog.at_level(logging.INFO):
        given = smoked("--training.steps", str(steps), "--data.max-length=100", "--model.width", "48", "--seed", "7")
    assert (given.training.steps, given.data.max_length, given.model.width, given.seed) == (steps, 100, 48, 7)
    assert (given.training.log_every, given.data.limit) == (2, 500)
    said = caplog.records[-1].message
    assert said.startswith("--smoke sets --data.limit=500 ")
    assert "--training.log-every=2" in said
    for flag in ("--training.steps", "--data.max-length", "--model.width", "--seed", "kind"):
        assert flag not in said
    assert smoked("--model.width", str(width)).model.width == width
    assert smoked("--model.attention.heads", "3").model.width == 24


def test_smoke_is_the_same_for_the_commands_of_data():
    for command in ("inspect", "prepare"):
        parsed: Any = cli.parse(["data", command, "grammar", "--smoke", "--data.limit", "30"])
        found = parsed.config
        assert (found.data.limit, found.training.steps) == (30, 10)


@pytest.mark.parametrize("code", ["0", "3", "'no'"])
def test_a_recipe_or_a_plugin_that_exits_is_an_error(tmp_path, capsys, code):
    (tmp_path / "exits.py").write_text(f"import sys; sys.exit({code})")
    assert run("train", str(tmp_path / "exits.py")) == 2
    assert "exits.py cannot be read: SystemExit" in capsys.readouterr().err
    assert run("train", "grammar", "--plugin", str(tmp_path / "exits.py"), "--help") == 2
    assert "exits.py failed: SystemExit" in capsys.readouterr().err
