"""A study as a SLURM job array: a task a trial."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from transformer.study.cells import Trial


def script(study: Path, runs: Path, trials: Sequence[Trial], folder: Path, *, smoke: bool = False) -> str:
    """The text for `sbatch`; what a cluster asks for beside (partition, accelerator, time) is given to `sbatch` itself.

    Args:
        study: its file or folder.
        runs: where run directories are; storage that all nodes share.
        trials: those to run.
        folder: where the command is typed, on storage that all nodes share.
        smoke: every trial shrunk to seconds.
    """
    name = (study if study.is_dir() else study.parent).absolute().name
    command = ["transformer", "study", str(study), "--runs", str(runs), *["--smoke"] * smoke]
    tasks = "".join(f"# {trial.number} {trial.name}\n" for trial in trials)
    own = [sys.executable, "-m", *command]
    return f"""#!/bin/bash
# {len(trials)} trial(s) of {study}, a task each; made by {shlex.join([*command, "--slurm"])}
# The numbers hold as long as the study's cells and seeds stay as they are.
{tasks}#SBATCH --job-name={name}
#SBATCH --array={ranges([trial.number for trial in trials])}
#SBATCH --output={shlex.quote(str(folder.absolute() / runs / "slurm-%A_%a.log"))}
#SBATCH --signal=B:TERM@90
#SBATCH --requeue
set -eu
cd {shlex.quote(str(folder.absolute()))}
exec {shlex.join(own)} --trial "$SLURM_ARRAY_TASK_ID"
"""


def ranges(numbers: Sequence[int]) -> str:
    """Numbers in SLURM's short form: "0-3,7"."""
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and parts[-1][1] == number - 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in parts)
