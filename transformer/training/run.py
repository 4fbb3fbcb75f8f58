"""A training from its settings to its end: prepare the data, begin or resume the run directory, train."""

import dataclasses
import logging
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import jax
import numpy as np

from transformer import check
from transformer.config import Config, read_config, to_json
from transformer.data.corpora.sources import TFDS, TfdsSplit, find_sources
from transformer.distributed import processes as cluster
from transformer.distributed import sharding as parallel
from transformer.distributed.config import Mesh
from transformer.errors import TransformerError, UsageError
from transformer.models.build import builder, split
from transformer.storage.run import Run
from transformer.tasks.task import Prepared
from transformer.training import loop
from transformer.training import run_directory as rundir
from transformer.training.restore import restore

log = logging.getLogger(__name__)

SPLITS = ("train", "validation", "test")


def train(
    settings: Config,
    folder: Path,
    recipe: str,
    *,
    resume: bool = False,
    init_from: Path | None = None,
    profile: bool = False,
) -> Run:
    """Prepare the data, train, and say where things are. Nothing is written before all is known to fit.

    Args:
        settings: of the run.
        folder: the run directory.
        recipe: its name, for the record.
        resume: a run in the folder is resumed; without it, it is refused.
        init_from: a run whose parameters and tokenizers are the beginning.
        profile: write a trace of some updates.

    Raises:
        UsageError: settings that cannot work, or a folder that may not be written.
        TransformerError: the data, the run directory or the training failed.
        InterruptedRunError: the run was asked to stop, and saved.
    """
    check.everything(settings)
    given = rundir.flatten(to_json(settings)) | {"run": str(folder), "resume": resume, "init_from": str(init_from)}
    cluster.require_same({name: value for name, value in given.items() if name != "data.cache"} | {"profile": profile})
    settings = with_absolute_paths(settings)
    mesh = parallel.make_mesh(settings.mesh)
    run = Run(folder)
    with ExitStack() as held:
        with cluster.main_process_first():
            # What the first process of a job writes, the others resume from.
            prepared, began_from = _begin(
                settings, run, recipe, init_from, resume or not cluster.is_main_process(), held
            )
        held.callback(prepared.close)
        graph, parameters = split(prepared.build_model())
        parameters = jax.tree.map(np.asarray, parameters)  # on the host: devices get their own parts
        if began_from is not None and not any(path.name.isdigit() for path in run.checkpoints.glob("*")):
            parameters = _take_over(parameters, Path(began_from))
        how = {"precision": settings.training.precision, "remat": settings.training.remat}
        training_graph, _ = split(prepared.build_model(**how))
        validate = prepared.validation(builder(graph), mesh)
        loop.train(settings, run, training_graph, parameters, prepared, validate, mesh, profile=profile)
    if cluster.is_main_process():
        print(f"run: {run.folder}   curve: {run.report / 'curve.png'}")
    return run


def _begin(
    settings: Config, run: Run, recipe: str, init_from: Path | None, resume: bool, held: ExitStack
) -> tuple[Prepared, str | None]:
    """The data of a new or of a resumed run, and the run whose parameters it begins from. The run directory exists and
    is complete afterwards, and other jobs are kept out of it as long as `held`."""
    about = rundir.check(run.folder, settings, resume)
    if about is not None:
        if init_from is not None and str(init_from.absolute()) != about["init_from"]:
            raise UsageError(f"{run.folder} began from {about['init_from']}, not from --init-from={init_from}")
        prepared = settings.task.prepare(settings, run.folder)
        check_identity(prepared, about["identity"], run)
    else:
        if init_from is not None:
            _same_tokenizer(settings, init_from)
        prepared = settings.task.prepare(settings, init_from)
    began_from = None if init_from is None else str(init_from.absolute())
    about = about or {"recipe": recipe, "init_from": began_from, "identity": prepared.identity}
    if cluster.is_main_process():
        try:
            run.folder.mkdir(parents=True, exist_ok=True)
            held.enter_context(rundir.locked(run))
            if not run.config.is_file():
                prepared.save(run.folder)
            rundir.save(run, settings, about)
        except OSError as error:
            raise TransformerError(f"cannot write to the run directory {run.folder}: {error.strerror}") from error
    elif not run.config.is_file():
        raise TransformerError(
            f"process {jax.process_index()} does not see what process 0 wrote to {run.folder}: a run directory has to "
            "be on storage that all hosts share"
        )
    return prepared, about["init_from"]


def check_identity(prepared: Prepared, before: dict[str, str], run: Run) -> None:
    """Refuse to resume with other tokenizers or other data than the run began with. Raises TransformerError."""
    differs = [name for name, value in prepared.identity.items() if before.get(name) != value]
    if "tokenizer" in differs:
        raise TransformerError(
            f"{run.tokenizer} is not the tokenizer this run was trained with: restore it, or start a new --run"
        )
    if differs:
        raise TransformerError(
            f"the {' and '.join(differs)} data changed since this run began, so resuming would not be exact: restore "
            f"the data, or start a new --run with --init-from {run.folder}"
        )


def _same_tokenizer(settings: Config, init_from: Path) -> None:
    before = read_config(init_from)
    if before.data.filter.normalize != settings.data.filter.normalize:
        raise UsageError(
            f"--init-from={init_from} has --data.filter.normalize={before.data.filter.normalize}, which its tokenizer "
            f"keeps: give the same, not {settings.data.filter.normalize}"
        )
    if before.tokenizer != settings.tokenizer:
        raise UsageError(
            f"--init-from={init_from} has the tokenizer {before.tokenizer}, this recipe {settings.tokenizer}: "
            "parameters fit only their own tokenizer, so give the same --tokenizer settings"
        )


def with_absolute_paths(settings: Config) -> Config:
    """The settings with absolute paths, so that a run can be resumed from any folder."""

    def absolute(part: Any, *names: str) -> Any:
        given = {name: getattr(part, name) for name in names if getattr(part, name)}
        return dataclasses.replace(part, **{k: str(Path(path).expanduser().absolute()) for k, path in given.items()})

    data = absolute(settings.data, "folder", "alignments")
    if data.source == "files":  # TFDS has names of splits there
        data = absolute(data, *SPLITS)
    also = tuple(one if one.startswith(TFDS) else str(Path(one).expanduser().absolute()) for one in data.also)
    data = dataclasses.replace(data, also=also)
    return dataclasses.replace(settings, data=data, decoding=absolute(settings.decoding, "lexicon"))


def _take_over(fresh: Any, source: Path) -> Any:
    """The parameters of the run to begin from, on the host. Raises UsageError where they are of other shapes."""
    before = read_config(source)
    _, like = split(before.task.predictor(before, source).build_model())
    _, restored = restore(Run(source), "auto", like, before.training, parallel.make_mesh(Mesh()))
    given = jax.tree.map(np.asarray, restored)
    wanted, found = (rundir.flatten(tree) for tree in (fresh, given))
    for name in sorted(wanted.keys() | found.keys()):
        shapes = [tree[name].shape if name in tree else "nothing" for tree in (wanted, found)]
        if shapes[0] != shapes[1]:
            raise UsageError(
                f"--init-from={source}: {name} is {shapes[1]} there and {shapes[0]} in this recipe; give the same "
                "--model settings"
            )
    return given


def prepare_data(settings: Config) -> None:
    """What `train` does before it trains, without sampling: download datasets of TFDS, clean, tokenise.

    The result is kept in the cache, where `train` finds it. Interrupted downloads and tokenising are resumed.
    """
    check.everything(settings)
    settings = with_absolute_paths(settings)
    for source in find_sources(settings.data):
        for one in source if isinstance(source, list) else [source]:
            if isinstance(one, TfdsSplit):
                one.download()
    began, plain = time.perf_counter(), dataclasses.replace(settings.tokenizer, sampling=0.0)
    prepared = settings.task.prepare(dataclasses.replace(settings, tokenizer=plain), None)
    seconds, examples = time.perf_counter() - began, prepared.epochs.epoch(0)[0]
    pairs = len(examples) + sum(examples.dropped.values())
    print(f"{pairs} training pairs prepared in {seconds:.1f} s; kept in {settings.data.cache}, where train finds them")
