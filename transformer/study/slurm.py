"""A study as a SLURM job array with one task per trial."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from transformer import plugins
from transformer.plurals import counted
from transformer.study.variants import Trial, folder_of


def script(study: Path, runs: Path | None, directory: Path, trials: Sequence[Trial], *, smoke: bool = False) -> str:
    """The batch script for `sbatch`.

    Options of the cluster (partition, accelerator, time) are given to `sbatch` itself. The working directory and the
    folder of the runs must be on storage that all nodes share.

    Args:
        study: its file or folder.
        runs: --runs as given; None for the default.
        directory: holds the run directories, and receives the logs.
        trials: to run.
        smoke: every trial is shrunk to seconds.
    """
    name = folder_of(study).resolve().name
    command = ["transformer", "study", str(study), *(["--runs", str(runs)] if runs else []), *["--smoke"] * smoke]
    command += plugins.arguments()
    tasks = "".join(f"    {trial.key}\n" for trial in trials)
    module = [sys.executable, "-m", *command]
    return f"""#!/bin/bash
# {counted(len(trials), "trial")} of {study}, one task each; made by {shlex.join([*command, "--slurm"])}
#SBATCH --job-name={shlex.quote(name)}
#SBATCH --array=0-{len(trials) - 1}
#SBATCH --output={shlex.quote(str(directory.absolute() / "slurm-%A_%a.log"))}
#SBATCH --signal=B:TERM@90
#SBATCH --requeue
#SBATCH --open-mode=append
set -eu
# Each with a digest of its settings: a task refuses a trial whose settings have changed.
trials=(
{tasks})
cd {shlex.quote(str(Path.cwd()))}
exec {shlex.join(module)} --trial "${{trials[$SLURM_ARRAY_TASK_ID]}}"
"""
