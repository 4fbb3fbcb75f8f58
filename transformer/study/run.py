"""Running a study: every trial that has no result yet is trained, or gone on with, and evaluated."""

import logging
import os
from pathlib import Path
from typing import Any

import jax

from transformer import api, logbook, recipes, report, rundir, workflow
from transformer.checkpoint import Checkpoints
from transformer.data import corpus
from transformer.errors import UsageError
from transformer.study import cells, present
from transformer.study.cells import Results, Study, Trial

log = logging.getLogger(__name__)

SETS = ("test", "unseen")


def study(path: Path, runs: Path | None, only: tuple[str, ...], *, smoke: bool, report_only: bool) -> None:
    """Run what is missing of a study and present what there is.

    The results go into results.json beside the study's file, its tables into tables.md and its figure into
    bleu_by_length.png. A trial that was interrupted goes on where it stopped.

    Args:
        path: the study's file, or its folder.
        runs: where run directories are; None: runs/ and the name of the study's folder.
        only: names of cells; none: all of them.
        smoke: shrink every cell to seconds and keep results with its runs, to see that the study runs.
        report_only: run nothing.
    """
    found, folder = cells.find(path), path if path.is_dir() else path.parent
    runs = runs or Path("runs") / (folder.absolute().name + "-smoke" * smoke)
    if smoke:
        folder = runs
    results = Results(folder / "results.json")
    wanted = [_shrunk(trial, smoke) for trial in cells.trials(found, only)]
    cells.check(wanted)
    for trial in () if report_only else wanted:
        if results.of(trial) is None:
            log.info("\n%s, seed %d", trial.cell, trial.seed)
            results.add(trial, _run(trial, runs / trial.name))
            jax.clear_caches()
    show(found, results, folder, smoke=smoke)


def show(found: Study, results: Results, folder: Path, *, smoke: bool = False) -> None:
    """Print the tables, and write them and the figure beside the results."""
    every = [(trial, results.of(_shrunk(trial, smoke))) for trial in cells.trials(found)]
    done: dict[str, list[dict[str, Any]]] = {}
    for trial, result in every:
        if result is not None:
            done.setdefault(trial.cell, []).append(result)
    if not done:
        raise UsageError(f"the study has no results yet in {results.path}")
    tables = present.tables(done)
    (folder / "tables.md").write_text(tables, encoding="utf-8")
    drawn = [name for name in found.drawn if name in done] or list(done)
    present.draw({name: done[name] for name in drawn}, folder / "bleu_by_length.png")
    print(tables)
    missing = [trial.name for trial, result in every if result is None]
    if missing:
        print(f"not yet run: {', '.join(missing)}")
    print(f"{folder / 'tables.md'}   {folder / 'bleu_by_length.png'}")


def _shrunk(trial: Trial, smoke: bool) -> Trial:
    return trial._replace(settings=recipes.smoke(trial.settings)) if smoke else trial


def _run(trial: Trial, folder: Path) -> dict[str, Any]:
    run = workflow.train(trial.settings, folder, trial.cell, resume=True)
    model = api.load(folder)
    languages = trial.settings.data.languages
    found = {}
    for name in SETS:
        if (run.data / f"{name}.{languages[0]}").is_file():
            part = corpus.read(run.data, name, languages)
            found[name] = report.evaluate(model, part, run.report, tokenize=trial.tokenize)
            del found[name]["hypotheses"]
            print(report.show(found[name]))
    records = logbook.read(run.metrics)
    checkpoints = Checkpoints(run.checkpoints, trial.settings.training, read_only=True)
    last = checkpoints.choose("last")
    minutes = checkpoints.host(last)["minutes"]
    checkpoints.close()
    return {
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(model.parameters)),
        "updates": last,
        "minutes": minutes,
        "device": f"{jax.devices()[0].device_kind}, {jax.device_count()} device(s), {os.cpu_count()} cores",
        "commit": rundir.provenance()["commit"],
        "validation": [record for record in records if record["kind"] == "validation"],
        **found,
    }
