"""The run that all notebooks share: the grammar, small enough for two minutes on 2 cores."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

OPTIONS = [
    *("--data.grammar.max-words", "10", "--data.grammar.max-depth", "1", "--data.grammar.train", "30000"),
    *("--data.grammar.validation", "100", "--data.grammar.test", "100"),
    *("--model.width", "64", "--model.feedforward", "256", "--training.steps", "600"),
    *("--training.validate-every", "300", "--schedule.warmup", "100"),
]
"""Differences from the recipe `demo`."""
QUICK = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
"""Notebooks compile much and compute little."""


def set_up_notebooks(work: Path) -> None:
    """The environment of the notebooks' processes: `transformer` is found, and they run in `work`."""
    work.mkdir(parents=True, exist_ok=True)
    os.environ["DOCS_WORK"] = str(work)
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    os.environ["TQDM_DISABLE"] = "1"
    os.environ["PYTHONPATH"] = str(Path(__file__).parent.parent.parent)
    os.environ["GLIBC_TUNABLES"] = "glibc.malloc.hugetlb=1"  # commands need not restart themselves
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {QUICK}"
    os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"


def train(work: Path) -> None:
    """Train `runs/demo` in `work`, unless it is there with the same options."""
    made_with = work / "runs" / "demo.json"
    if made_with.is_file() and json.loads(made_with.read_text()) == OPTIONS:
        return
    shutil.rmtree(work / "runs", ignore_errors=True)
    command = [sys.executable, "-m", "transformer", "train", "demo", *OPTIONS]
    subprocess.run(command, cwd=work, check=True, env=os.environ | {"MPLBACKEND": "agg", "XLA_FLAGS": ""})
    made_with.write_text(json.dumps(OPTIONS))
