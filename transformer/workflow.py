"""What each command does, from settings and paths to files and printed lines."""

import dataclasses
import logging
import math
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from transformer import api, models, parallel, recipes, report, rundir
from transformer import train as training
from transformer.config import Config, Decoding, check
from transformer.data import batches, corpus
from transformer.data.corpus import Corpus
from transformer.decoding.translate import Translator
from transformer.errors import TransformerError, UsageError
from transformer.evaluate import bleu
from transformer.prepare import Prepared, prepare
from transformer.rundir import Run
from transformer.scoring import Scorer, check_lengths

log = logging.getLogger(__name__)

SPLITS = ("train", "validation", "test")
CHUNK = 2_000
"""Lines read, translated and written at a time."""


def train(settings: Config, folder: Path, recipe: str, *, resume: bool = False, init_from: Path | None = None) -> Run:
    """Prepare the data, train, and say where things are."""
    check(settings)
    settings = _with_absolute_paths(settings)
    mesh = parallel.make_mesh(settings.mesh)
    initial = api.load(init_from) if init_from is not None else None
    run, goes_on = rundir.begin(folder, settings, recipe, resume)
    prepared = prepare(settings, run, init_from)
    sizes = prepared.tokenizers.source.size, prepared.tokenizers.target.size
    graph, parameters = models.split(models.create(settings.model, *sizes, settings.seed))
    if initial is not None and not goes_on:
        parameters = _take_over(parameters, initial.parameters, init_from)
    validate = make_validation(settings, prepared, graph, mesh)
    training.train(settings, run, graph, parameters, prepared, validate, mesh)
    print(f"run: {run.folder}   curve: {run.report / 'curve.png'}")
    return run


def _with_absolute_paths(settings: Config) -> Config:
    """So that a run can be gone on with from any folder."""
    data = settings.data
    paths: dict[str, Any] = {name: str(Path(getattr(data, name)).absolute()) for name in SPLITS if getattr(data, name)}
    return dataclasses.replace(settings, data=dataclasses.replace(data, **paths))


def _take_over(fresh: Any, given: Any, source: Path | None) -> Any:
    wanted, there = (rundir.flatten(tree) for tree in (fresh, given))
    for name in sorted(wanted.keys() | there.keys()):
        shapes = [tree[name].shape if name in tree else "nothing" for tree in (wanted, there)]
        if shapes[0] != shapes[1]:
            raise UsageError(
                f"--init-from={source}: {name} is {shapes[1]} there and {shapes[0]} in this recipe; give the same "
                "--model settings"
            )
    return given


def make_validation(settings: Config, prepared: Prepared, graph: Any, mesh: Any) -> Any:
    """A function of the parameters: validation loss, and BLEU of greedy translations of the first sentences."""
    examples, plan = prepared.validation_examples, prepared.plan
    check_lengths(examples, settings.model.max_length)  # now, not after an hour of training
    fixed = batches.fixed(
        examples.source_lengths,
        examples.target_lengths,
        settings.batching,
        plan.buckets,
        settings.batching.batch_multiple * settings.training.accumulate,
    )
    scorer = Scorer(graph, mesh, settings.training.loss_chunk, settings.model.max_length)
    translator = Translator(graph, prepared.tokenizers, settings.model.max_length, mesh)
    count = settings.training.validate_sentences
    sources, references = prepared.validation.sources[:count], prepared.validation.targets[:count]
    greedy = Decoding(beam=1, batch=128)

    def validate(parameters: Any) -> dict[str, float]:
        began = time.perf_counter()
        loss = scorer.score(parameters, examples, fixed).loss
        values = {"loss": loss, "perplexity": math.exp(min(loss, 700))}
        if sources:
            found = translator.translate(parameters, sources, greedy)
            values["bleu"] = bleu([hypothesis.text for hypothesis in found], references)
        return values | {"seconds": time.perf_counter() - began}

    return validate


def translate(run: Path, source: str, output: str, checkpoint: str, search: dict[str, Any]) -> None:
    """Lines in, lines out, in pieces, so that the first come soon."""
    target = None if output == "-" else Path(output)
    if target is not None and target.exists():
        raise UsageError(f"--output={target} exists: give another name, or remove it")
    model = api.load(run, checkpoint)
    lines = corpus.stream_lines(Path(source)) if source != "-" else _stdin()
    try:
        stream = sys.stdout if target is None else target.open("w", encoding="utf-8")
    except OSError as error:
        raise TransformerError(f"--output={target} cannot be written: {error.strerror}") from error
    try:
        while piece := list(islice(lines, CHUNK)):
            stream.writelines(line + "\n" for line in model.translate(piece, **search))
            stream.flush()
    finally:
        if target is not None:
            stream.close()


def _stdin() -> Iterator[str]:
    for number, line in enumerate(sys.stdin.buffer, 1):
        try:
            yield line.decode("utf-8").strip()
        except UnicodeDecodeError as error:
            raise TransformerError(f"standard input, line {number}: not UTF-8 ({error.reason})") from error


def evaluate(
    run: Path,
    split: str,
    files: tuple[Path, Path] | None,
    against: str,
    checkpoint: str,
    tokenize: str,
    lowercase: bool,
    search: dict[str, Any],
) -> None:
    """Translate a set, score it, print the scores and keep them in report/."""
    model = api.load(run, checkpoint)
    languages = model.settings.data.languages
    if files is not None:
        sets = [_own_files(files)]
    else:
        if split == "test" and not (Run(run).data / f"test.{languages[0]}").is_file():
            log.warning("the run has no test set: using its validation set")
            split = "validation"
        sets = [corpus.read(Run(run).data, split, languages)]
        if split == "test" and (Run(run).data / f"unseen.{languages[0]}").is_file():
            sets.append(corpus.read(Run(run).data, "unseen", languages))
    for part in sets:
        result = report.evaluate(
            model,
            part,
            Run(run).report,
            against=against,
            tokenize=tokenize,
            lowercase=lowercase,
            search=search,
        )
        print(report.show(result))
        against = ""


def _own_files(files: tuple[Path, Path]) -> Corpus:
    sources, references = (corpus.read_lines(path) for path in files)
    if len(sources) != len(references):
        raise TransformerError(f"{files[0]} has {len(sources)} lines but {files[1]} has {len(references)}")
    return Corpus(sources, references, None, files[0].name.split(".")[0])


def demo(folder: Path) -> None:
    """Train the recipe `demo`, then show what came of it."""
    began = time.perf_counter()
    if folder.exists():
        number = next(n for n in range(1, 10**6) if not folder.with_name(f"{folder.name}-{n}").exists())
        aside = folder.with_name(f"{folder.name}-{number}")
        folder.rename(aside)
        print(f"an older demo was moved to {aside}")
    _, settings = recipes.find("demo")
    run = train(settings, folder, "demo")
    model = api.load(folder)
    languages = settings.data.languages
    for name in ("test", "unseen"):
        part = corpus.read(run.data, name, languages)
        result = report.evaluate(model, part, run.report)
        print(report.show(result))
        if name == "test":
            print(report.examples(part, result["hypotheses"], 5))
    minutes = (time.perf_counter() - began) / 60
    print(f"run: {run.folder}   curve: {run.report / 'curve.png'}   time: {minutes:.1f} minutes")
    print(f"try: echo 'the old man who sold the house sleeps .' | transformer translate {run.folder}")
