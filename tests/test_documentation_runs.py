"""The commands of README and of the how-to pages run: in order, on tiny runs and invented text."""

import os
import shutil
from collections import Counter
from pathlib import Path

import pytest

from tests.documentation import ROOT, Block, blocks, commands
from tests.test_cli import run
from tests.test_documentation import settle
from tests.test_plugins import forget

PAGES = [
    "README.md",
    *(f"docs/how_to/{name}.md" for name in ("own_text", "search", "align", "compare", "tune", "resume")),
]
NEEDS = ("multi30k", "wmt14", "europarl", "srun", "--slurm", "experiments/", "--reverse", "GLIBC_TUNABLES")
"""Commands with one of these need data, a scheduler or a run that is not at hand; they are read by the command line
only (`test_documentation`)."""
TINY = ("--model.encoder-layers", "1", "--model.decoder-layers", "2", "--batching.shapes", "1")


@pytest.fixture(scope="module")
def workspace(corpora, tmp_path_factory):
    """A folder with the text and the runs that the pages name."""
    folder = tmp_path_factory.mktemp("pages")
    before = Path.cwd()
    os.chdir(folder)
    for target in ("my/corpus", "my/new"):
        for language, toy in (("en", "xx"), ("de", "yy")):
            path = Path(f"{target}.{language}")
            path.parent.mkdir(exist_ok=True)
            shutil.copy(corpora / f"train.{toy}", path)
    for name in ("new.en", "one.en", "test.en"):
        shutil.copy(corpora / "test.xx", name)
    for name in ("test.de", "changed.de", "other.de", "begun.de"):
        shutil.copy(corpora / "test.yy", name)
    Path("begun.de").write_text("\n" * 16)
    Path("test.gold").write_text("1-1\n" * 16)
    data = ("--data.train", "my/corpus", "--data.test", str(folder / "test"), "--data.cache", str(folder / "cache"))
    assert run("train", "files", "--smoke", "--run", "runs/mine", *data, *TINY) == 0
    for name in ("other", "third"):
        shutil.copytree("runs/mine", f"runs/{name}")
    for name in ("demo", "grammar"):
        cache = ("--data.cache", str(folder / "cache"))
        assert run("train", "demo", "--smoke", "--run", f"runs/{name}", *cache, *TINY) == 0
        assert run("evaluate", f"runs/{name}") == 0
    assert run("evaluate", "runs/other") == 0
    yield folder
    os.chdir(before)
    forget(*(path.resolve() for path in folder.glob("*.py")))


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_commands_run(page, workspace, capsys):
    done: Counter[str] = Counter()
    every = blocks(ROOT / page)
    settle_files(workspace, every)
    for block in every:
        if block.kind != "sh":
            continue
        for words in commands(block):
            if "transformer" not in words or any(part in " ".join([block.text, *words][1:]) for part in NEEDS):
                done["read only"] += "transformer" in words
                continue
            arguments = shrunk(words[words.index("transformer") + 1 :], workspace)
            with Path("new.en").open() as lines:
                before = os.dup(0)
                os.dup2(lines.fileno(), 0)
                code = run(*arguments)
                os.dup2(before, 0)
                os.close(before)
            assert code == 0, f"{block.page}, line {block.line}: {' '.join(arguments)}\n{capsys.readouterr().err}"
            done["run"] += 1
    assert done["run"], page


def settle_files(folder: Path, every: list[Block]) -> None:
    """Write the files that a page shows; its runs are those of the fixture."""
    settle(folder, [block._replace(text=block.text) for block in every if block.file])


def shrunk(arguments: list[str], folder: Path) -> list[str]:
    """A training becomes a matter of seconds, and nothing is in the way of what is written."""
    if arguments[0] == "train":
        if "--resume" in arguments:
            return [word for word in arguments if word != "--training.minutes"][:3]
        extra = [] if "--smoke" in arguments else ["--smoke"]
        arguments = [*arguments, *extra, "--data.cache", str(folder / "cache"), *TINY]
        if "--run" not in arguments:
            arguments += ["--run", "runs/without-a-name"]
        shutil.rmtree(arguments[arguments.index("--run") + 1], ignore_errors=True)
    if arguments[0] == "study":
        return [*[word for word in arguments if word != "--smoke"], "--smoke"]
    for flag in ("--output", "--page"):
        if flag in arguments and "--resume" not in arguments:
            path = Path(arguments[arguments.index(flag) + 1])
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
    if arguments[0] == "align" and "--output" not in arguments:
        shutil.rmtree(folder / arguments[1] / "report" / "align-test", ignore_errors=True)
    return arguments
