"""From settings to what training needs: corpora, tokenizers, examples and the batch plan."""

import logging
from pathlib import Path
from typing import NamedTuple

import numpy as np

from transformer import config
from transformer.data import batches, corpus, examples, tokenizer
from transformer.data.batches import Plan
from transformer.data.corpus import Corpora, Corpus
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
    validation_examples: Examples
    corpora: Corpora
    identity: dict[str, str]
    """Hashes of the tokenizers and of the data; a resumed run must have the same."""

    @property
    def validation(self) -> Corpus:
        """The validation set as text."""
        return self.corpora.validation


def prepare(settings: config.Config, tokenizer_folder: Path | None) -> Prepared:
    """Read or make everything, and report it in the log. Nothing but the cache is written.

    Args:
        settings: of the run.
        tokenizer_folder: where the tokenizers are, of a run that is gone on with or started from; None trains
            new ones.
    """
    data, cache = settings.data, Path(settings.data.cache).expanduser()
    corpora = corpus.load(data)
    log.info(
        "corpus: %d training pairs, %d validation pairs", len(corpora.train.sources), len(corpora.validation.sources)
    )
    if tokenizer_folder is None:
        tokenizers = tokenizer.train(settings.tokenizer, corpora.train.sources, corpora.train.targets)
    else:
        tokenizers = tokenizer.load(tokenizer_folder)
    log.info("vocabulary: %d source, %d target entries", tokenizers.source.size, tokenizers.target.size)
    train = examples.build(corpora.train, tokenizers, data.max_length, cache)
    for reason, count in (corpora.skipped | train.dropped).items():
        log.warning("left out of training: %d pair(s): %s", count, reason)
    if settings.training.guided.weight > 0:
        if corpora.train.alignments is None:
            raise UsageError(
                "--training.guided.weight needs the training pairs' word alignments: name a file with --data.alignments"
            )
        train = examples.link(train, corpora.train, tokenizers, data.max_length)
        if train.links is not None and train.links.unusable:
            log.warning(
                "%d pair(s) guide nothing: their alignment names words that are not there", train.links.unusable
            )
    validation = examples.build(corpora.validation, tokenizers, settings.model.max_length, cache)
    for count in validation.dropped.values():
        limit = settings.model.max_length
        log.warning("left out of the validation loss: %d pair(s): longer than --model.max-length=%d", count, limit)

    _report_reach(settings.model.attention.reach, train)

    multiple = settings.batching.batch_multiple * settings.training.accumulate
    buckets = batches.choose_buckets(train.source_lengths, train.target_lengths, settings.batching, multiple)
    plan = batches.make_plan(train.source_lengths, train.target_lengths, buckets, settings.seed)
    log.info("batches: %s", plan.describe())
    identity = {"tokenizer": tokenizer.fingerprint(tokenizers), "train": train.key, "validation": validation.key}
    return Prepared(tokenizers, train, plan, validation, corpora, identity)


def _report_reach(reach: int | None, train: Examples) -> None:
    beyond = np.maximum(train.source_lengths - (reach or np.iinfo(np.int32).max), 0)
    if beyond.any():
        log.warning(
            "location attention knows %d source tokens (--model.attention.positions): %d token(s) of %d training "
            "pair(s) are beyond and get no attention",
            reach,
            beyond.sum(),
            np.count_nonzero(beyond),
        )


def keep(prepared: Prepared, settings: config.Config, run: Run) -> None:
    """Write tokenizers, validation and test text into the run directory, so that later commands need no other."""
    tokenizer.save(prepared.tokenizers, run.tokenizer)
    corpora = prepared.corpora
    for part in (corpora.validation, corpora.test, corpora.unseen):
        if part is not None:
            corpus.write(part, run.data, settings.data.languages)


def check_identity(prepared: Prepared, before: dict[str, str], run: Run) -> None:
    """Refuse to go on with another tokenizer or other data than the run began with."""
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
