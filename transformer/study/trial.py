"""Run one trial of a study: train or resume it, evaluate it, and write its result to the run directory."""

import statistics
import time
from pathlib import Path
from typing import Any

import jax

from transformer import api, config
from transformer.alignment.links import Rule
from transformer.alignment.measure import all_sure, link_counts, measure
from transformer.alignment.record import Attended
from transformer.alignment.select import all_links, name, rank
from transformer.api import TrainedModel
from transformer.data.corpora import corpus
from transformer.data.corpora.corpus import Corpus
from transformer.data.shards import available_cores
from transformer.errors import UsageError
from transformer.evaluation import report
from transformer.evaluation.metrics import bleu_counts
from transformer.storage.locks import file_lock
from transformer.storage.run import Run
from transformer.study import results
from transformer.study.variants import Trial, digest
from transformer.training import logger
from transformer.training import run as training
from transformer.training import run_directory as rundir
from transformer.training.checkpoint import Checkpoints

SETS = ("test", "unseen")
TRIES = 5
ARGMAX = (None,)
"""Thresholds of the error rates: each target word is linked with the source word that it attends to most."""


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
    kept, wanted = rundir.read_config(folder), training.with_absolute_paths(trial.settings)  # as in a run
    if digest(kept) != digest(wanted):
        in_run, in_study = (rundir.flatten(config.to_json(each)) for each in (kept, wanted))
        name = next(name for name in in_study if in_study[name] != in_run.get(name))
        raise UsageError(
            f"{folder} was trained with other settings than the trial {trial.name} has now ({name} is "
            f"{in_run.get(name)} in the run and {in_study[name]} in the study): move it away, give the variant another "
            "name, or give another --runs"
        )


def _result(trial: Trial, folder: Path) -> dict[str, Any]:
    check(folder, trial)
    run = training.train(trial.settings, folder, trial.variant, resume=True)
    model = api.load(folder)
    languages = trial.settings.data.languages
    rule = best_rule(model, run)
    found = {}
    for part in (corpus.read(run.data, s, languages) for s in SETS if corpus.exists(run.data, s, languages)):
        found[part.name] = evaluated = report.evaluate(model, part, run.report, tokenize=trial.tokenize)
        print(report.show(evaluated))
        hypotheses = evaluated.pop("hypotheses")
        evaluated["corpus"] = results.corpus_digest(part, trial.tokenize)
        evaluated["counts"] = results.pack(bleu_counts(hypotheses, list(part.targets), trial.tokenize))
        if rule is not None and part.alignments is not None:
            evaluated["alignment"] = alignment(model, part, rule)
    records = logger.read(run.metrics)
    speeds = [record["tokens_per_s"] for record in records if record["kind"] == "train"]
    checkpoints = Checkpoints(run.checkpoints, trial.settings.training, read_only=True)
    last = checkpoints.choose("last")
    minutes = checkpoints.host(last)["minutes"]
    checkpoints.close()
    return {
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(model.parameters)),
        "updates": last,
        "minutes": minutes,
        "tokens_per_s": statistics.median(speeds) if speeds else None,
        "device": f"{jax.devices()[0].device_kind}, {jax.device_count()} device(s), {available_cores()} cores",
        "commit": rundir.provenance()["commit"],
        "validation": [record for record in records if record["kind"] == "validation"],
        **found,
    }


def best_rule(model: TrainedModel, run: Run) -> Rule | None:
    """The layer and head with the lowest error rate on the validation set; None without attention or gold links."""
    if model.settings.model.attention.score == "none" or not (run.data / "validation.align").is_file():
        return None
    dev = corpus.read(run.data, "validation", model.settings.data.languages)
    ranked = rank(model.attend(dev.sources, dev.targets), all_sure(dev.alignments or []), Rule(), ARGMAX)
    return ranked[0].rule if ranked else None


def alignment(model: TrainedModel, part: Corpus, rule: Rule) -> dict[str, Any]:
    """Error rates under the rule, and of every layer and head."""
    attended = model.attend(part.sources, part.targets)
    gold = all_sure(part.alignments or [])

    def rate(layer: int | None, head: int | None) -> float:
        return measure(all_links(attended, Rule(layer, head)), gold, bootstrap=0).aer

    layers, heads = _sizes(attended)
    links = all_links(attended, rule)
    return {
        **measure(links, gold)._asdict(),
        "rule": name(rule),
        "counts": results.pack(link_counts(links, gold)),
        "heads": [[rate(layer, head) for head in range(heads)] for layer in range(layers)],
        "layers": [rate(layer, None) for layer in range(layers)],
        "mean": rate(None, None),
    }


def _sizes(attended: list[Attended | None]) -> tuple[int, int]:
    """Number of layers and of heads."""
    known = next((one for one in attended if one is not None), None)
    shape = (0, 0) if known is None else known.matrix("cross").shape
    return int(shape[0]), int(shape[1])
