"""A training from start to end: prepare the data, create or resume the run directory, train."""

import dataclasses
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from transformer import check
from transformer.config import Config, flatten, to_json
from transformer.data.corpora.sources import TFDS, TfdsSplit, find_sources
from transformer.distributed import processes as cluster
from transformer.distributed import sharding as parallel
from transformer.errors import TransformerError, UsageError
from transformer.models.build import builder, shapes, split
from transformer.plurals import counted
from transformer.storage.run import Run
from transformer.tasks.task import Prepared
from transformer.training import loop
from transformer.training import run_directory as rundir
from transformer.training.fine_tuning import check_settings, check_shapes, take_over

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
    """Prepare the data, train, and print where the results are. Nothing is written before everything is checked.

    Args:
        settings: of the run.
        folder: the run directory.
        recipe: its name, to be recorded.
        resume: whether to resume a run in the folder, which is otherwise refused.
        init_from: a run whose parameters and tokenizers are the initial ones.
        profile: write a trace of some updates.

    Raises:
        UsageError: settings that cannot work, or a folder that may not be written.
        TransformerError: the data, the run directory or the training failed.
        InterruptedRunError: the run was asked to stop, and saved.
    """
    check.everything(settings)
    given = flatten(to_json(settings)) | {"run": str(folder), "resume": resume, "init_from": str(init_from)}
    cluster.require_same({name: value for name, value in given.items() if name != "data.cache"} | {"profile": profile})
    settings = with_absolute_paths(settings)
    mesh = parallel.make_mesh(settings.mesh)
    run = Run(folder)
    with ExitStack() as held:
        with cluster.main_process_first():
            # What the first process of a job writes, the others resume from.
            start = _Start(settings, run, init_from, resume or not cluster.is_main_process())
            prepared, origin = _begin(start, recipe, held)
        graph, parameters = split(prepared.build_model())
        parameters = jax.tree.map(np.asarray, parameters)  # on the host: devices get their own parts
        if origin is not None and not any(path.name.isdigit() for path in run.checkpoints.glob("*")):
            parameters = take_over(parameters, origin, settings, prepared.identity)
        how = {"precision": settings.training.precision, "remat": settings.training.remat}
        training_graph, _ = shapes(lambda: prepared.build_model(**how))
        validate = prepared.validation(builder(graph), mesh)
        fine_tunes = origin is not None
        loop.train(
            settings, run, training_graph, parameters, prepared, validate, mesh, profile=profile, fine_tunes=fine_tunes
        )
    if cluster.is_main_process():
        print(f"run: {run.folder}   curve: {run.report / 'curve.png'}")
    return run


class _Start(NamedTuple):
    """What a session is to do in a run directory."""

    settings: Config
    run: Run
    init_from: Path | None
    resume: bool

    def decide(self) -> dict[str, Any] | None:
        """The content of config.json of a run to resume; None for a new run.

        Raises UsageError if neither is allowed, and TransformerError if config.json is damaged.
        """
        about = rundir.check(self.run.folder, self.settings, self.resume)
        if self.init_from is None:
            return about
        if about is None:
            check_settings(self.settings, self.init_from)
        elif about["init_from"] is None or Path(about["init_from"]).resolve() != self.init_from.resolve():
            raise UsageError(
                f"{self.run.folder} started from {about['init_from'] or 'fresh parameters'}, not from "
                f"--init-from={self.init_from}"
            )
        return about

    def prepare(self, about: dict[str, Any] | None) -> Prepared:
        """The data for the session. Raises TransformerError if they do not match the run."""
        if about is None:
            prepared = self.settings.task.prepare(self.settings, self.init_from)
            if self.init_from is not None:
                check_shapes(prepared, self.init_from)
        else:
            prepared = self.settings.task.prepare(self.settings, self.run.folder)
            check_identity(prepared, about["identity"], self.run)
        return prepared


def _begin(start: _Start, recipe: str, held: ExitStack) -> tuple[Prepared, Path | None]:
    """The data of a new or resumed run, and the run that its initial parameters come from. Afterwards the run directory
    exists and is complete, and is locked against other jobs while `held`."""

    def prepare(about: dict[str, Any] | None) -> Prepared:
        prepared = start.prepare(about)
        held.callback(prepared.close)
        return prepared

    run, about = start.run, start.decide()
    if about is None and not cluster.is_main_process():
        raise TransformerError(
            f"process {jax.process_index()} does not see what process 0 wrote to {run.folder}: a run directory must "
            "be on storage that all hosts share"
        )
    prepared = prepare(about)
    if cluster.is_main_process():
        try:
            run.folder.mkdir(parents=True, exist_ok=True)
            held.enter_context(rundir.locked(run))
            # While the data were prepared, another process may have started a run here, or resumed it, and ended.
            if (now := start.decide()) != about:
                about, prepared = now, prepare(now)
            if about is None:
                prepared.save(run.folder)
                origin = None if start.init_from is None else str(start.init_from.absolute())
                about = {"recipe": recipe, "init_from": origin, "identity": prepared.identity}
            rundir.save(run, start.settings, about)
        except OSError as error:
            raise TransformerError(f"cannot write to the run directory {run.folder}: {error.strerror}") from error
    assert about is not None
    return prepared, None if about["init_from"] is None else Path(about["init_from"])


def check_identity(prepared: Prepared, before: dict[str, str], run: Run) -> None:
    """Refuse to resume with tokenizers or data that differ from those at the start of the run. Raises
    TransformerError."""
    differs = [name for name, value in prepared.identity.items() if before.get(name) != value]
    if "tokenizer" in differs:
        raise TransformerError(
            f"{run.tokenizer} is not the tokenizer this run was trained with: restore it, or start a new --run"
        )
    if unknown := [name for name in differs if name not in before]:
        raise TransformerError(
            f"this run began with an earlier version, whose batches were different ({', '.join(unknown)}), so resuming "
            f"would not be exact: resume it with that version, or start a new --run with --init-from {run.folder}"
        )
    if differs:
        raise TransformerError(
            f"the {' and '.join(differs)} data changed since this run began, so resuming would not be exact: restore "
            f"the data, or start a new --run with --init-from {run.folder}"
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


def prepare_data(settings: Config) -> None:
    """The preparation of `train`, without sampling: download datasets of TFDS, clean, tokenise.

    The result is kept in the cache, where `train` finds it. Interrupted downloads and tokenisation are resumed.
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
    count = counted(pairs, "training pair")
    print(f"{count} prepared in {seconds:.1f} s; kept in {settings.data.cache}, where train finds them")
