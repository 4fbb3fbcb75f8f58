"""A study as a SLURM job array: a task a trial."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from transformer.study.cells import Trial, home


def script(study: Path, runs: Path | None, directory: Path, trials: Sequence[Trial], *, smoke: bool = False) -> str:
    """The text for `sbatch`; what a cluster asks for beside (partition, accelerator, time) is given to `sbatch` itself.
    The folder where the command is typed, and that of the runs, are on storage that all nodes share.

    Args:
        study: its file or folder.
        runs: as the user gave it.
        directory: where run directories are, and the logs are to be.
        trials: those to run.
        smoke: every trial shrunk to seconds.
    """
    name = home(study).resolve().name
    command = ["transformer", "study", str(study), *(["--runs", str(runs)] if runs else []), *["--smoke"] * smoke]
    tasks = "".join(f"    {trial.key}\n" for trial in trials)
    own = [sys.executable, "-m", *command]
    return f"""#!/bin/bash
# {len(trials)} trial(s) of {study}, a task each; made by {shlex.join([*command, "--slurm"])}
#SBATCH --job-name={shlex.quote(name)}
#SBATCH --array=0-{len(trials) - 1}
#SBATCH --output={shlex.quote(str(directory.absolute() / "slurm-%A_%a.log"))}
#SBATCH --signal=B:TERM@90
#SBATCH --requeue
#SBATCH --open-mode=append
set -eu
# Each with a digest of its settings: a task refuses a trial that has changed since.
trials=(
{tasks})
cd {shlex.quote(str(Path.cwd()))}
exec {shlex.join(own)} --trial "${{trials[$SLURM_ARRAY_TASK_ID]}}"
"""
