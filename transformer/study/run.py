"""Run a study: workers run every trial that has no result yet, several at a time."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from transformer import plugins
from transformer.errors import TransformerError, UsageError
from transformer.plurals import counted
from transformer.study import report, slurm, trial, variants, workers
from transformer.study.results import Results
from transformer.study.runner import Runner, collect

log = logging.getLogger(__name__)


def runs_folder(study: Path, runs: Path | None = None, *, smoke: bool = False) -> Path:
    """The folder of a study's run directories.

    Args:
        study: its file or folder.
        runs: as given; None is runs/ and the name of the study's folder.
        smoke: of shrunk trials, which have a folder next to it whose name ends in -smoke.
    """
    folder = runs or Path("runs") / variants.folder_of(study).resolve().name
    if not smoke:
        return folder
    folder = folder.resolve() if folder.name in ("", "..") else folder  # such as `.`
    return folder.with_name(folder.name + "-smoke")


def run_trial(study: Path, key: str, *, runs: Path | None = None, smoke: bool = False) -> None:
    """Run one trial in this process, and add its result to results.json. Does nothing if it has a result.

    Args:
        study: its file or folder.
        key: the trial's name, or its key.
        runs: see `runs_folder`.
        smoke: the trial is shrunk to seconds.

    Raises UsageError for no such study or trial, for settings that cannot work, and if another process runs it.
    """
    folder = runs_folder(study, runs, smoke=smoke)
    chosen = variants.find_trial(variants.load(study), key, smoke=smoke)
    results = Results(_results_file(study, folder, smoke))
    variants.check([chosen])
    if results.get(chosen) is not None:
        log.info("%s is done: its result is in %s", chosen.name, results.path)
        return
    with workers.stop_with_runner(os.environ):
        trial.run(chosen, folder)
    results.collect(folder)


def run_study(
    study: Path,
    *,
    runs: Path | None = None,
    only: Sequence[str] = (),
    full: bool = False,
    smoke: bool = False,
    num_workers: int = 1,
    print_slurm: bool = False,
    progress_seconds: float = 60.0,
) -> None:
    """Run the trials that have no result, then write and print tables and figures of all results.

    Args:
        study: its file or folder.
        runs: see `runs_folder`.
        only: names of variants; none selects all.
        full: all variants and seeds, those of `Study.full` included.
        smoke: every trial is shrunk to seconds, with one seed per variant. Results stay with the runs.
        num_workers: trials that run in parallel.
        print_slurm: print a job array of the trials without a result, and run nothing.
        progress_seconds: between two tables of progress.

    Raises:
        UsageError: no such study or variant; settings that cannot work.
        TransformerError: trials failed. The others are done.
        InterruptedRunError: Ctrl-C or SIGTERM. The trials that ran have saved.
    """
    definition = variants.load(study)
    folder = runs_folder(study, runs, smoke=smoke)
    results = Results(_results_file(study, folder, smoke))
    wanted = variants.trials(definition, only, full=full, smoke=smoke)
    variants.check(wanted)
    resources = workers.divide(num_workers, workers.available_cores(), workers.accelerators(os.environ))
    folder.mkdir(parents=True, exist_ok=True)
    results.collect(folder)
    missing = [one for one in wanted if results.get(one) is None]
    if not smoke:
        others = [results.path.parent / other / "results.json" for other in definition.reuse_from]
        missing = results.reuse(missing, others)
    for one in missing:
        trial.check(folder / one.name, one)
    if print_slurm:
        if not missing:
            raise UsageError(f"nothing is missing in {results.path}: there is no job to submit")
        print(slurm.script(study, runs, folder, missing, smoke=smoke), end="")
        return
    command = ["study", str(study), *["--runs", str(runs)] * (runs is not None), *["--smoke"] * smoke]
    command += plugins.arguments()
    runner = Runner(results, folder, command, resources, progress_seconds)
    reasons = runner.run(missing, len(wanted)) if missing else {}
    unread = collect(results, folder)
    # A trial whose result could not be read when its worker exited may have one now.
    failed = [reason for one, reason in reasons.items() if results.get(one) is None]
    if any(results.get(one) is not None for one in variants.trials(definition, full=True, smoke=smoke)):
        report.report(definition, results, results.path.parent, smoke=smoke)
    errors = ["\n  ".join([f"{counted(len(failed), 'trial')} failed:", *failed])] if failed else []
    errors += [unread] if unread else []
    if errors:
        raise TransformerError("\n".join(errors))


def _results_file(study: Path, runs: Path, smoke: bool) -> Path:
    return (runs if smoke else variants.folder_of(study)) / "results.json"
