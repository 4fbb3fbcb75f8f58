"""Exact resume on the device: an uninterrupted run of some updates against one that was stopped half-way.

XLA's non-deterministic operations are turned off by --xla_gpu_deterministic_ops, which has no effect on other devices.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

FLAGS = "--xla_gpu_deterministic_ops=true"
SETTINGS = """
    --data.grammar.train 300 --data.grammar.validation 20 --data.grammar.test 20 --tokenizer.vocabulary 300
    --data.max-length 48 --batching.tokens 512 --batching.shapes 2
    --model.encoder-layers 1 --model.decoder-layers 1 --model.width 64 --model.feedforward 128
    --model.dropout 0.1 --schedule.name inverse_sqrt --training.average none
    --training.validate-every 100 --task.validate-sentences 0 --task.metric loss
"""


def rows(*, smoke: bool) -> Iterator[dict[str, Any]]:
    updates = 4 if smoke else 40
    environment = os.environ | {"XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {FLAGS}"}
    with tempfile.TemporaryDirectory() as folder:
        whole, parts = Path(folder, "whole"), Path(folder, "parts")
        sessions = ((whole, updates, False), (parts, updates // 2, False), (parts, updates, True))
        for run, steps, resume in sessions:
            command = [sys.executable, "-m", "transformer", "train", "grammar", "--run", str(run), *SETTINGS.split(),
                       "--data.cache", f"{folder}/cache", "--training.steps", str(steps)]  # fmt: skip
            subprocess.run([*command, *["--resume"] * resume], env=environment, check=True)
        from transformer import api

        first, second = (api.load(run, "last").parameters for run in (whole, parts))
        equal = jax.tree.map(lambda a, b: bool(np.array_equal(np.asarray(a), np.asarray(b))), first, second)
        yield {
            "updates": updates,
            "flags": FLAGS,
            "arrays": len(jax.tree.leaves(equal)),
            "bit-identical": sum(jax.tree.leaves(equal)),
        }
