"""Shells complete commands, options and values."""

import shutil
import subprocess

import pytest

from transformer import cli, recipes
from transformer.commands.completion import script
from transformer.commands.table import COMMANDS


def completed(*words, cwd):
    """The completions of bash for the last word."""
    line = " ".join(f"'{word}'" for word in ("transformer", *words))
    program = f'{script("bash")}\nCOMP_WORDS=({line}); COMP_CWORD={len(words)}; _transformer; echo "${{COMPREPLY[@]}}"'
    out = subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=True, cwd=cwd)
    assert out.stderr == ""
    return out.stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_commands_options_and_values(tmp_path):
    assert completed("", cwd=tmp_path) == list(dict.fromkeys(name.split()[0] for name in COMMANDS))
    assert completed("tr", cwd=tmp_path) == ["train", "translate"]
    assert completed("data", "", cwd=tmp_path) == ["inspect", "prepare"]
    assert completed("train", "multi30k_en", cwd=tmp_path) == [
        n for n in recipes.names() if n.startswith("multi30k_en")
    ]
    assert completed("train", "demo", "--optimizer.name", "ad", cwd=tmp_path) == ["adam", "adamw", "adadelta"]
    assert completed("train", "demo", "--model.ce", cwd=tmp_path) == ["--model.cell"]
    assert completed("train", "demo", "--model.pool", cwd=tmp_path) == ["--model.pooling"]
    assert completed("data", "inspect", "demo", "--outp", cwd=tmp_path) == ["--output"]
    assert completed("translate", "run", "--best", cwd=tmp_path) == []
    assert completed("translate", "run", "--input", "", cwd=tmp_path) == []  # bash then completes files
    assert set(completed("align", "run", "--formats", "", cwd=tmp_path)) == {"pharaoh", "npz", "json", "page", "png"}


def test_every_shell_has_a_script(capsys):
    for shell in ("bash", "zsh", "fish"):
        cli.main(["completion", shell])
        assert "explain" in capsys.readouterr().out
    lines = script("fish").splitlines()
    assert all(line.startswith("complete -c transformer -n '") for line in lines)
    assert any("-l optimizer.name " in line and "adadelta" in line for line in lines)
    assert script("zsh").endswith(script("bash"))
    with pytest.raises(SystemExit) as stop:
        cli.main(["completion", "csh"])
    assert stop.value.code == 2
