"""What an import loads, in a separate process. (import-linter reads the code; imports inside functions pass here.)"""

import subprocess
import sys
from pathlib import Path

import pytest

import transformer
from tests.conftest import untrained
from transformer.commands.table import COMMANDS as TABLE

PACKAGE = Path(transformer.__file__).parent
SETTINGS = [
    "transformer.tasks.table",
    "transformer.models.families",
    *sorted(".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in PACKAGE.rglob("config.py")),
]
HEAVY = {"jax", "flax", "optax", "orbax", "grain", "matplotlib", "scipy", "tensorflow_datasets"}


COMMANDS = [
    "transformer.cli",
    *(f"transformer.commands.{entry.options.split(':')[0]}" for entry in TABLE.values()),
]


@pytest.mark.parametrize("modules", [["transformer"], SETTINGS, COMMANDS], ids=["package", "settings", "commands"])
def test_an_import_loads_no_heavy_package(modules):
    script = f"import sys, {', '.join(modules)}; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert set(modules) <= set(loaded)
    assert not HEAVY & set(loaded)


def test_translating_imports_no_checkpoint_writer_scorer_or_plotter(settings, tmp_path):
    run = untrained(settings, tmp_path / "run")
    script = (
        "import sys; from transformer import api\n"
        f"api.load({str(run)!r}).translate('ba'); print('modules', *sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    loaded = set(out.split("modules ")[-1].split())
    assert {"jax", "flax", "tensorstore"} <= loaded
    assert not {"orbax", "grain", "matplotlib", "scipy", "tensorflow_datasets", "sacrebleu"} & loaded


def test_the_package_says_that_it_is_typed():
    assert (PACKAGE / "py.typed").read_bytes() == b""


@pytest.mark.parametrize(("arguments", "code"), [(["--help"], 0), (["trian"], 2)])
def test_help_and_usage_errors_load_no_parser(arguments, code):
    script = (
        "import sys; from transformer import cli\n"
        f"try: cli.main({arguments})\n"
        "except SystemExit as stop: print('exit-code', stop.code, *sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    words = out.split("exit-code ")[-1].split()
    assert words[0] == str(code)
    assert not {*HEAVY, "tyro", "numpy"} & set(words)
