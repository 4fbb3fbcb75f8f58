"""What an import loads, in a process of its own. (import-linter reads the code; imports inside functions pass here.)"""

import subprocess
import sys
from pathlib import Path

import pytest

import transformer
from transformer import cli

PACKAGE = Path(transformer.__file__).parent
SETTINGS = [
    "transformer.tasks.table",
    "transformer.models.families",
    *sorted(".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in PACKAGE.rglob("config.py")),
]
HEAVY = {"jax", "flax", "optax", "orbax", "grain", "matplotlib", "scipy", "tensorflow_datasets"}


COMMANDS = [
    "transformer.cli",
    *(f"transformer.commands.{entry.options.split(':')[0]}" for entry in cli.COMMANDS.values()),
]


@pytest.mark.parametrize("modules", [["transformer"], SETTINGS, COMMANDS], ids=["package", "settings", "commands"])
def test_an_import_loads_no_heavy_package(modules):
    script = f"import sys, {', '.join(modules)}; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert set(modules) <= set(loaded)
    assert not HEAVY & set(loaded)
