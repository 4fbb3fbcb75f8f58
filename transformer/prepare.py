"""From settings to what training needs: corpora, tokenizers, examples and the batch plan, kept with the run."""

import logging
from pathlib import Path
from typing import NamedTuple

from transformer import config, rundir
from transformer.data import batches, corpus, examples, tokenizer
from transformer.data.batches import Plan
from transformer.data.corpus import Corpus
from transformer.data.examples import Examples
from transformer.data.tokenizer import Tokenizers
from transformer.errors import TransformerError, UsageError
from transformer.rundir import Run

log = logging.getLogger(__name__)


class Prepared(NamedTuple):
    """The data of a run."""

    tokenizers: Tokenizers
    examples: Examples
    plan: Plan
    validation: Corpus
    validation_examples: Examples
    identity: str
    """Hash of the tokenizers and of the training plan's contents; a resumed run must have the same."""


def prepare(settings: config.Config, run: Run, init_from: Path | None = None) -> Prepared:
    """Read or make everything, report it in the log, and keep tokenizers and held-out text in the run directory."""
    data, cache = settings.data, Path(settings.data.cache).expanduser()
    corpora = corpus.load(data)
    log.info(
        "corpus: %d training pairs, %d validation pairs",
        len(corpora.train.sources),
        len(corpora.validation.sources),
    )
    for reason, count in corpora.skipped.items():
        log.warning("left out of training: %d pair(s): %s", count, reason)
    for part in (corpora.validation, corpora.test, corpora.unseen):
        if part is not None:
            corpus.write(part, run.data, data.languages)

    tokenizers = _tokenizers(settings, run, corpora.train, init_from)
    log.info("vocabulary: %d source, %d target entries", tokenizers.source.size, tokenizers.target.size)
    train = examples.build(corpora.train, tokenizers, data.max_length, cache)
    validation = examples.build(corpora.validation, tokenizers, None, cache)
    for reason, count in train.dropped.items():
        log.warning("left out of training: %d pair(s): %s", count, reason)

    multiple = settings.batching.batch_multiple * settings.training.accumulate
    buckets = batches.choose_buckets(train.source_lengths, train.target_lengths, settings.batching, multiple)
    plan = batches.make_plan(train.source_lengths, train.target_lengths, buckets, settings.seed)
    log.info("batches: %s", plan.describe())
    identity = f"{tokenizer.fingerprint(tokenizers)} {train.key}"
    return Prepared(tokenizers, train, plan, corpora.validation, validation, identity)


def _tokenizers(settings: config.Config, run: Run, train: Corpus, init_from: Path | None) -> Tokenizers:
    if run.tokenizer.is_dir():
        return tokenizer.load(run.tokenizer)
    if init_from is not None:
        before = rundir.read_config(init_from)
        if before.tokenizer != settings.tokenizer:
            raise UsageError(
                f"--init-from={init_from} has the tokenizer {before.tokenizer}, this recipe {settings.tokenizer}: "
                "parameters fit only their own tokenizer, so give the same --tokenizer settings"
            )
        tokenizers = tokenizer.load(Run(init_from).tokenizer)
    else:
        tokenizers = tokenizer.train(settings.tokenizer, train.sources, train.targets)
    tokenizer.save(tokenizers, run.tokenizer)
    return tokenizers


def check_identity(prepared: Prepared, saved: str, run: Run) -> None:
    """Refuse to go on with another tokenizer or other data than the checkpoint was trained with."""
    now, before = prepared.identity.split(), saved.split()
    if now[0] != before[0]:
        raise TransformerError(
            f"{run.tokenizer} is not the tokenizer this run was trained with: restore it, or start a new --run"
        )
    if now != before:
        raise TransformerError(
            "the training data changed since this run was saved, so resuming would not be exact: restore the data, "
            f"or start a new --run with --init-from {run.folder}"
        )
