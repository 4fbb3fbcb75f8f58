"""Run one trial of a study: train or resume it, evaluate it, and write its result to the run directory."""

import statistics
import time
from pathlib import Path
from typing import Any

import jax

from transformer import api, config
from transformer.config import read_config
from transformer.data.shards import available_cores
from transformer.errors import UsageError
from transformer.evaluation import report
from transformer.evaluation.measures import scores
from transformer.plurals import counted
from transformer.storage.locks import file_lock
from transformer.storage.run import Run
from transformer.study import results
from transformer.study.variants import Trial, digest
from transformer.tasks.task import Split
from transformer.training import logger
from transformer.training import run as training
from transformer.training import run_directory as rundir
from transformer.training.stored import StoredCheckpoints

TRIES = 5


def lock(runs: Path, trial: Trial) -> Path:
    """Held by the process that trains and evaluates the trial."""
    return runs / f"{trial.name}.lock"


def run(trial: Trial, runs: Path) -> None:
    """Train and evaluate a trial, and write the result to its run directory. Does nothing if the result exists.

    Raises UsageError if another process runs it.
    """
    runs.mkdir(parents=True, exist_ok=True)
    folder = runs / trial.name
    for _ in range(TRIES):  # a runner that checks the lock holds it for a moment
        with file_lock(lock(runs, trial)) as ours:
            if ours:
                if not results.exists(folder, trial):
                    results.write(folder, trial, _result(trial, folder))
                return
        time.sleep(0.1)
    raise UsageError(f"another process is running {folder}: wait for it")


def check(folder: Path, trial: Trial) -> None:
    """Raises UsageError if the run directory exists and has other settings than the trial."""
    if not rundir.is_run(folder):
        return
    kept, wanted = read_config(folder), training.with_absolute_paths(trial.settings)  # as in a run
    if digest(kept) != digest(wanted):
        in_run, in_study = (config.flatten(config.to_json(each)) for each in (kept, wanted))
        name = next(name for name in in_study if in_study[name] != in_run.get(name))
        raise UsageError(
            f"{folder} was trained with other settings than the trial {trial.name} has now ({name} is "
            f"{in_run.get(name)} in the run and {in_study[name]} in the study): move it away, give the variant another "
            "name, or give another --runs"
        )


def _result(trial: Trial, folder: Path) -> dict[str, Any]:
    check(folder, trial)
    run = training.train(trial.settings, folder, trial.variant, resume=True)
    model = api.load_predictor(folder)
    evaluated = {split.name: _evaluate(trial, model, run, split) for split in model.predictor.splits("test")}
    records = logger.read(run.metrics)
    training_records = [record for record in records if record["kind"] == "train"]
    speeds = {
        name: [record[name] for record in training_records if name in record] for name in _speeds(training_records)
    }
    checkpoints = StoredCheckpoints(
        run.checkpoints, trial.settings.training, averages=trial.settings.optimizer.averages
    )
    last = checkpoints.choose("last")
    minutes = checkpoints.host(last)["minutes"]
    return {
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(model.parameters)),
        "updates": last,
        "minutes": minutes,
        **{name: statistics.median(values) for name, values in speeds.items()},
        "device": f"{jax.devices()[0].device_kind}, {counted(jax.device_count(), 'device')}, {available_cores()} cores",
        "commit": rundir.provenance()["commit"],
        "validation": [record for record in records if record["kind"] == "validation"],
        "sets": list(evaluated),
        **evaluated,
    }


def _speeds(records: list[dict[str, Any]]) -> list[str]:
    """Names of the speed of training in the log: `tokens_per_s`, by the unit of the task."""
    return [name for name in (records[0] if records else {}) if name.endswith(results.SPEED)]


def _evaluate(trial: Trial, model: api.LoadedPredictor, run: Run, split: Split) -> dict[str, Any]:
    """The result of a test set: its report, the task's extras, and the counts of the measures that studies resample."""
    evaluation = model.evaluate(split, **dict(trial.scoring))
    report.write(run.report, evaluation)
    print(report.show(evaluation.result))
    extras, measures = model.extras(split), trial.settings.task.measures()
    further = scores(extras.counts, measures)
    resampled = [name for name, measure in measures.items() if measure.score is not None]
    counts = {name: each for name, each in {**evaluation.counts, **extras.counts}.items() if name in resampled}
    return {
        **evaluation.result,
        "scores": {**evaluation.result["scores"], **further},
        **extras.report,
        "corpus": results.split_digest(split, dict(trial.scoring)),
        "counts": results.packed(counts),
    }
