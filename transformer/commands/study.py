"""`transformer study`."""

from dataclasses import dataclass
from pathlib import Path

from transformer.commands.options import Command, StudyFolder
from transformer.errors import UsageError


@dataclass(frozen=True)
class Study(Command):
    """Run the trials of a study that have no result yet, then make its report.

    A study is a grid of runs under one budget. A stopped study resumes where it stopped, and two of these commands on
    one study share the work. Results are kept in results.json in the study's folder.
    """

    study: StudyFolder
    runs: str = ""
    """Folder of its run directories (with --smoke: RUNS-smoke); the default is runs/ and the name of the study's
    folder."""
    only: tuple[str, ...] = ()
    """Variants to run; the default is all of them."""
    full: bool = False
    """All variants and seeds, not only those that two cores can train overnight."""
    workers: int = 1
    """Trials that run in parallel, each on its own share of the cores or its own accelerator."""
    trial: str | None = None
    """Run only this trial, VARIANT-SEED, in this process, as a task of a job array does."""
    slurm: bool = False
    """Print a job array of the missing trials and run nothing: `transformer study STUDY --slurm | sbatch`."""
    smoke: bool = False
    """Shrink every trial to seconds, with one seed per variant, as a test; results stay with the runs."""

    def check(self) -> None:
        others = {"--slurm": self.slurm, "--only": self.only, "--full": self.full, "--workers": self.workers != 1}
        for flag, given in others.items():
            if self.trial is not None and given:
                raise UsageError(f"--trial runs one trial in this process: it cannot be combined with {flag}")

    def execute(self) -> None:
        from transformer.study.run import run_study, run_trial

        study, runs = Path(self.study), Path(self.runs) if self.runs else None
        if self.trial is not None:
            run_trial(study, self.trial, runs=runs, smoke=self.smoke)
            return
        run_study(
            study,
            runs=runs,
            only=self.only,
            full=self.full,
            smoke=self.smoke,
            num_workers=self.workers,
            print_slurm=self.slurm,
        )
