"""What each command does, from settings and paths to files and printed lines."""

import dataclasses
import logging
import math
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import jax
import numpy as np

from transformer import api, check
from transformer.config import Config, to_json
from transformer.data.batching import batches
from transformer.data.corpora.sources import TFDS, TfdsSplit, find_sources
from transformer.decoding.scoring import Scorer
from transformer.decoding.translator import Translator
from transformer.distributed import processes as cluster
from transformer.distributed import sharding as parallel
from transformer.errors import TransformerError, UsageError
from transformer.evaluation.metrics import bleu
from transformer.models.build import builder, create, split
from transformer.tasks.translation.prepare import Prepared, check_identity, keep, prepare
from transformer.training import loop as training
from transformer.training import run_directory as rundir
from transformer.training.run_directory import Run

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
    """Prepare the data, train, and say where things are. Nothing is written before all is known to fit."""
    check.everything(settings)
    given = rundir.flatten(to_json(settings)) | {"run": str(folder), "resume": resume, "init_from": str(init_from)}
    cluster.require_same({name: value for name, value in given.items() if name != "data.cache"} | {"profile": profile})
    settings = with_absolute_paths(settings)
    mesh = parallel.make_mesh(settings.mesh)
    run = Run(folder)
    with ExitStack() as held:
        with cluster.main_process_first():
            # What the first process of a job keeps, the others go on with.
            prepared, began_from = _begin(
                settings, run, recipe, init_from, resume or not cluster.is_main_process(), held
            )
        held.callback(prepared.supply.close)
        sizes = prepared.tokenizers.source.size, prepared.tokenizers.target.size
        graph, parameters = split(create(settings.model, *sizes, settings.seed))
        parameters = jax.tree.map(np.asarray, parameters)  # on the host: devices will have their own parts
        if began_from is not None and not any(path.name.isdigit() for path in run.checkpoints.glob("*")):
            given = jax.tree.map(np.asarray, api.load(began_from).parameters)
            parameters = _take_over(parameters, given, began_from)
        validate = make_validation(settings, prepared, graph, mesh)
        training.train(settings, run, graph, parameters, prepared, validate, mesh, profile=profile)
    if cluster.is_main_process():
        print(f"run: {run.folder}   curve: {run.report / 'curve.png'}")
    return run


def _begin(
    settings: Config, run: Run, recipe: str, init_from: Path | None, resume: bool, held: ExitStack
) -> tuple[Prepared, str | None]:
    """The data of a new run, or of one that is gone on with, and the run whose parameters it begins from. The run
    directory is there and complete afterwards, and other jobs are kept out of it as long as `held`."""
    about = rundir.check(run.folder, settings, resume)
    if about is not None:
        if init_from is not None and str(init_from.absolute()) != about["init_from"]:
            raise UsageError(f"{run.folder} began from {about['init_from']}, not from --init-from={init_from}")
        prepared = prepare(settings, run.tokenizer)
        check_identity(prepared, about["identity"], run)
    else:
        if init_from is not None:
            _same_tokenizer(settings, init_from)
        prepared = prepare(settings, None if init_from is None else Run(init_from).tokenizer)
    began_from = None if init_from is None else str(init_from.absolute())
    about = about or {"recipe": recipe, "init_from": began_from, "identity": prepared.identity}
    if cluster.is_main_process():
        try:
            run.folder.mkdir(parents=True, exist_ok=True)
            held.enter_context(rundir.occupied(run))
            if not run.config.is_file():
                keep(prepared, settings, run)
            rundir.keep(run, settings, about)
        except OSError as error:
            raise TransformerError(f"cannot write to the run directory {run.folder}: {error.strerror}") from error
    elif not run.config.is_file():
        raise TransformerError(
            f"process {jax.process_index()} does not see what process 0 wrote to {run.folder}: a run directory has to "
            "be on storage that all hosts share"
        )
    return prepared, about["init_from"]


def _same_tokenizer(settings: Config, init_from: Path) -> None:
    before = rundir.read_config(init_from)
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
    """So that a run can be gone on with from any folder."""

    def absolute(part: Any, *names: str) -> Any:
        given = {name: getattr(part, name) for name in names if getattr(part, name)}
        return dataclasses.replace(part, **{k: str(Path(path).expanduser().absolute()) for k, path in given.items()})

    data = absolute(settings.data, "folder", "alignments")
    if data.source == "files":  # TFDS has names of splits there
        data = absolute(data, *SPLITS)
    also = tuple(one if one.startswith(TFDS) else str(Path(one).expanduser().absolute()) for one in data.also)
    data = dataclasses.replace(data, also=also)
    return dataclasses.replace(settings, data=data, decoding=absolute(settings.decoding, "lexicon"))


def _take_over(fresh: Any, given: Any, source: str) -> Any:
    wanted, there = (rundir.flatten(tree) for tree in (fresh, given))
    for name in sorted(wanted.keys() | there.keys()):
        shapes = [tree[name].shape if name in tree else "nothing" for tree in (wanted, there)]
        if shapes[0] != shapes[1]:
            raise UsageError(
                f"--init-from={source}: {name} is {shapes[1]} there and {shapes[0]} in this recipe; give the same "
                "--model settings"
            )
    return given


def prepare_data(settings: Config) -> None:
    """What `train` does before it trains, but for drawing pieces: download what TFDS has not got here, clean, tokenise.
    It is kept in the cache, where `train` finds it; downloads and tokenising are gone on with after an interruption."""
    check.everything(settings)
    settings = with_absolute_paths(settings)
    for source in find_sources(settings.data):
        for one in source if isinstance(source, list) else [source]:
            if isinstance(one, TfdsSplit):
                one.download()
    began, plain = time.perf_counter(), dataclasses.replace(settings.tokenizer, sampling=0.0)
    prepared = prepare(dataclasses.replace(settings, tokenizer=plain), None)
    seconds, pairs = time.perf_counter() - began, len(prepared.corpora.train.sources)
    print(f"{pairs} training pairs prepared in {seconds:.1f} s; kept in {settings.data.cache}, where train finds them")


def make_validation(settings: Config, prepared: Prepared, graph: Any, mesh: Any) -> Any:
    """A function of the parameters: validation loss, and BLEU of greedy translations of the first sentences."""
    examples = prepared.validation_examples
    fixed = batches.fixed(
        examples.source_lengths,
        examples.target_lengths,
        settings.batching,
        prepared.supply.buckets,
        settings.batching.batch_multiple * settings.training.accumulate,
    )
    build = builder(graph)
    scorer = Scorer(build, mesh, settings.training.loss_chunk)
    translator = Translator(
        build,
        prepared.tokenizers,
        mesh,
        max_length=settings.model.max_length,
        reach=settings.model.attention.reach,
    )
    count = settings.task.validate_sentences
    sources, references = prepared.validation.sources[:count], prepared.validation.targets[:count]
    greedy = dataclasses.replace(settings.decoding, beam=1, n_best=1, samples=0, mbr="none")

    def validate(parameters: Any) -> dict[str, float]:
        began = time.perf_counter()
        loss = scorer.score(parameters, examples, fixed).loss
        values = {"loss": loss, "perplexity": math.exp(min(loss, 700))}
        if sources:
            found = translator.translate(parameters, sources, greedy)
            values["bleu"] = bleu([best.text for best, *_ in found], references)
        return values | {"seconds": time.perf_counter() - began}

    return validate
