"""Every named recipe runs, shrunk to seconds."""

from pathlib import Path

import pytest

from tests.test_cli import run
from transformer import recipes


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in recipes.names() if name != "files"])
def test_recipe_smokes(name, tmp_path, capsys):
    settings = recipes.find(name)[1]
    needed = [getattr(settings.data, split) for split in ("train", "validation", "test")]
    for prefix in filter(None, needed):
        if not list(Path(prefix).parent.glob(f"{Path(prefix).name}.*")):
            pytest.skip(f"{prefix} is not here")
    folder = tmp_path / "run"
    assert run("train", name, "--smoke", "--run", str(folder)) == 0
    assert run("evaluate", str(folder), "--beam", "2") == 0
    assert "BLEU" in capsys.readouterr().out
