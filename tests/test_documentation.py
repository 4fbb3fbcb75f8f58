"""README and documentation stay true: the command line parses every command in them, and many are run."""

import ast
import json
import re
import shutil
import tomllib
from pathlib import Path

import pytest

from tests.documentation import KEYWORDS, ROOT, Block, blocks, commands, pages
from tests.test_plugins import forget
from transformer import cli, recipes
from transformer.attention.config import NORMALIZERS, POSITIONS, SCORES, WINDOWS
from transformer.config import to_json
from transformer.models.families import FAMILIES
from transformer.study import variants

PAGES = [page for page in pages() if blocks(page)]


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """A folder in which the commands of a page find what they name: settings of runs, studies, scripts."""
    monkeypatch.chdir(tmp_path)
    for name in ("configs", "experiments", "tests"):
        (tmp_path / name).symlink_to(ROOT / name)
    yield tmp_path
    forget(*(path.resolve() for path in tmp_path.glob("*.py")))


def settle(folder: Path, every: list[Block]) -> None:
    """Write the files that a page shows, the settings of each run that it names, and the text that commands read."""
    about = json.dumps({"config": to_json(recipes.find("demo")[1])})
    for block in every:
        for name in re.findall(r"--(?:against|gold|input|prefix|reference|source|target) (\w+\.\w+)", block.text):
            (folder / name).touch()
        for run in re.findall(r"\bruns/[\w/-]+", block.text):
            (folder / run).mkdir(parents=True, exist_ok=True)
            (folder / run / "config.json").write_text(about)
        if block.file:
            (folder / block.file).parent.mkdir(exist_ok=True)
            (folder / block.file).write_text(block.code)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_command_line_reads_every_command(page, workspace, capsys):
    every = blocks(page)
    settle(workspace, every)
    for block in every:
        if block.kind.startswith("sh"):
            for words in commands(block):
                complaint = wrong(words, workspace)
                assert not complaint, (
                    f"{block.page}, line {block.line}: {' '.join(words)}\n{complaint}\n{capsys.readouterr()}"
                )
        else:
            compile(block.code, f"{block.page}, line {block.line}", "exec")


def wrong(words: list[str], folder: Path) -> str:
    """What is wrong with a command; "" for nothing."""
    program, *rest = words
    if program == "srun":
        return wrong(words[words.index("transformer") :], folder)
    if program == "transformer":
        return refused(rest, folder)
    if program == "make":
        missing = set(rest) - set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M))
        return f"no target {missing}" if missing else ""
    if program == "pip":
        extras = re.findall(r"\[(\w+)\]", " ".join(rest))
        known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        return "" if set(extras) <= set(known) else f"no extra {extras}"
    if program in ("python", "pytest", ".venv/bin/pre-commit"):
        files = [word for word in rest if word.endswith(".py")][:1]
        return "" if all((folder / file).exists() or (ROOT / file).exists() for file in files) else f"no {files}"
    return "" if program in KEYWORDS else f"unknown program {program}"


def refused(arguments: list[str], folder: Path) -> str:
    try:
        command = cli.parse(arguments)
        command.check()
    except SystemExit as stop:
        return "" if not stop.code else f"exit code {stop.code}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    study = getattr(command, "study", None)
    if study is not None and (folder / study).is_dir():
        variants.load(folder / study)
    return ""


@pytest.mark.parametrize("page", [page for page in PAGES if any(b.kind == "python" for b in blocks(page))], ids=name_of)
def test_imports_of_python_blocks_exist(page):
    for block in blocks(page):
        if block.kind == "python":
            imports = [
                node for node in ast.walk(ast.parse(block.text)) if isinstance(node, ast.Import | ast.ImportFrom)
            ]
            exec("\n".join(ast.unparse(node) for node in imports), {})


def test_readme_is_short_and_its_links_exist():
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 150
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (ROOT / target).exists(), target


def test_the_catalogue_has_every_entry_and_family():
    folder = ROOT / "docs" / "attention"
    for file, kind, names in (
        ("scores", "score", [*SCORES, "none"]),
        ("windows", "window", WINDOWS),
        ("normalizers", "normalizer", NORMALIZERS),
        ("positions", "positions", ["sinusoidal", "learned", "none", *POSITIONS]),
    ):
        text = (folder / f"{file}.md").read_text()
        for name in names:
            assert f"({kind}-{name.replace('_', '-')})=\n## `{name}`" in text, name
    assert {"transformer", "rnn", "composed"} <= set(FAMILIES)


def test_commands_of_shell_are_found():
    text = "A=1 make x && transformer a --b c | cat  # not this\necho hi; transformer d \\\n    e < in > out\n"
    found = list(commands(Block("page", 1, "sh", text)))
    assert found == [
        ["make", "x"],
        ["transformer", "a", "--b", "c"],
        ["cat"],
        ["echo", "hi"],
        ["transformer", "d", "e"],
    ]


def test_a_wrong_command_is_found(workspace):
    assert "no target" in wrong(["make", "nothing"], workspace)
    assert "no run directory" in wrong(["transformer", "translate", "runs/none"], workspace)
    assert "exit code 2" in wrong(["transformer", "train", "demo", "--model.widht", "3"], workspace)
    assert wrong(["transformer", "train", "demo", "--model.width", "64"], workspace) == ""
    assert "unknown program" in wrong(["convert", "x"], workspace)
    shutil.rmtree("runs", ignore_errors=True)
