"""The commands of README and of the how-to pages run: in order, on tiny runs and invented text."""

import os
import shutil
from collections import Counter
from pathlib import Path

import pytest

from tests.documentation import ROOT, blocks, commands
from tests.test_cli import run
from tests.test_documentation import settle
from tests.test_plugins import forget

HOW_TO = ("own_text", "search", "align", "compare", "tune", "resume")
PAGES = ["README.md", *(f"docs/how_to/{name}.md" for name in HOW_TO)]
ELSEWHERE = {"multi30k", "wmt14", "europarl", "srun", "experiments/", "--reverse", "--training.minutes"}
"""Commands with one of these need data, a scheduler, a run or time that is not available; the command line only parses
them (`test_documentation`)."""


@pytest.fixture(scope="module")
def template(corpora, tmp_path_factory):
    """A folder with the text and the runs that the pages name."""
    folder, before = tmp_path_factory.mktemp("pages"), Path.cwd()
    os.chdir(folder)
    Path("my").mkdir()
    for language, toy in (("en", "xx"), ("de", "yy")):
        for name, part in (("my/corpus", "train"), ("my/new", "train"), ("test", "test")):
            shutil.copy(corpora / f"{part}.{toy}", f"{name}.{language}")
    for name in ("new.en", "one.en"):
        shutil.copy("test.en", name)
    for name in ("changed.de", "other.de"):
        shutil.copy("test.de", name)
    Path("begun.de").write_text("\n" * 16)
    Path("test.gold").write_text("1-1\n" * 16)
    recipes = {"mine": ("files", "--data.train", "my/corpus", "--data.test", "test"), "demo": ("demo",)}
    for name, recipe in recipes.items():
        folder = f"runs/{name}"
        assert run("train", *recipe, "--smoke", "--run", folder, "--data.cache", "cache", *ONE_SHAPE) == 0
        assert run("evaluate", folder) == 0
    for name, copy in (("mine", "other"), ("mine", "third"), ("demo", "grammar")):
        shutil.copytree(f"runs/{name}", f"runs/{copy}")
    yield Path.cwd()
    os.chdir(before)


ONE_SHAPE = ("--batching.shapes", "1")


@pytest.fixture
def workspace(template, tmp_path, monkeypatch):
    folder = tmp_path / "work"
    shutil.copytree(template, folder)
    monkeypatch.chdir(folder)
    yield folder
    forget(*(path.resolve() for path in folder.glob("*.py")))


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_run(page, workspace, capsys):
    done: Counter[str] = Counter()
    every = blocks(ROOT / page)
    settle(workspace, [block for block in every if block.file])
    for block in (block for block in every if block.kind == "sh"):
        for words in (words for words in commands(block) if "transformer" in words):
            if any(part in word for word in words for part in ELSEWHERE):
                done["only read"] += 1
                continue
            arguments = shrunk(words[words.index("transformer") + 1 :])
            code = run_on("new.en", arguments)
            place = f"{block.page}, line {block.line}: {' '.join(arguments)}"
            assert code == 0, f"{place}\n{capsys.readouterr().err}"
            done["run"] += 1
    assert done["run"] >= 2, done


def run_on(text: str, arguments: list[str]) -> int:
    """Run a command with a file as its standard input."""
    before = os.dup(0)
    with Path(text).open() as lines:
        os.dup2(lines.fileno(), 0)
    try:
        return run(*arguments)
    finally:
        os.dup2(before, 0)
        os.close(before)


def shrunk(arguments: list[str]) -> list[str]:
    """Shorten a training to seconds, and remove existing output."""
    if arguments[0] == "train" and "--resume" not in arguments:
        arguments = [*arguments, *ONE_SHAPE, "--data.cache", "cache"]
        arguments += [] if "--smoke" in arguments else ["--smoke"]
        arguments += [] if "--run" in arguments else ["--run", "runs/no-name"]
    for flag in ("--output", "--page", "--run"):
        if flag in arguments and "--resume" not in arguments:
            path = Path(arguments[arguments.index(flag) + 1])
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
    if arguments[0] == "align":
        shutil.rmtree(Path(arguments[1]) / "report", ignore_errors=True)
    return arguments
