"""From settings to what training needs: corpora, tokenizers, examples and the batch plan."""

import dataclasses
import hashlib
import json
import logging
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np

from transformer import config
from transformer.data import examples
from transformer.data.batching.buckets import choose_buckets
from transformer.data.batching.epochs import Redrawn, Same, Supply
from transformer.data.batching.plan import Plan, make_plan, shares_of
from transformer.data.corpora import corpus
from transformer.data.corpora.alignments import Alignments
from transformer.data.corpora.corpus import Corpora, Corpus
from transformer.data.corpora.filters import Form
from transformer.data.corpora.load import load_corpora
from transformer.data.corpora.text import digest
from transformer.data.examples import Examples
from transformer.data.tokenizers.files import VERSION as TOKENIZERS_VERSION
from transformer.data.tokenizers.files import fingerprint, load_tokenizers, save_tokenizers
from transformer.data.tokenizers.tokenizer import Tokenizers
from transformer.data.tokenizers.train import train_tokenizers
from transformer.errors import TransformerError, UsageError
from transformer.training.run_directory import Run

log = logging.getLogger(__name__)


class Prepared(NamedTuple):
    """The data of a run."""

    tokenizers: Tokenizers
    examples: Examples
    plan: Plan
    """Of the first epoch; of every one, unless pieces are drawn."""
    supply: Supply
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
    corpora = load_corpora(data)
    log.info(
        "corpus: %d training pairs, %d validation pairs", len(corpora.train.sources), len(corpora.validation.sources)
    )
    if corpora.cut:
        log.info("read to --data.limit=%d; what follows was not", data.limit)
    if tokenizer_folder is None:
        tokenizers = _tokenizers(settings.tokenizer, data.filter.normalize, corpora.train, cache)
    else:
        tokenizers = load_tokenizers(tokenizer_folder)
    log.info("vocabulary: %d source, %d target entries", tokenizers.source.size, tokenizers.target.size)
    train = examples.build(corpora.train, tokenizers, data.max_length, cache)
    for reason, count in (corpora.skipped | train.dropped).items():
        log.warning("left out of training: %d pair(s): %s", count, reason)
    if settings.task.guided.weight > 0:
        if corpora.train.alignments is None:
            raise UsageError(
                "--task.guided.weight needs the training pairs' word alignments: name a file with --data.alignments"
            )
        train = examples.link(train, corpora.train, tokenizers, data.max_length)
        if train.links is not None and train.links.unusable:
            log.warning(
                "%d pair(s) guide nothing: their alignment names words that are not there", train.links.unusable
            )
    validation = examples.build(corpora.validation, tokenizers, settings.model.max_length, cache, "--model.max-length")
    for count in validation.dropped.values():
        limit = settings.model.max_length
        log.warning("left out of the validation loss: %d pair(s): longer than --model.max-length=%d", count, limit)

    _report_reach(settings.model.attention.reach, train)

    supply, plan = _supply(settings, corpora, train, tokenizers, cache)
    log.info("batches: %s", plan.describe())
    links = corpora.train.alignments.digest if isinstance(corpora.train.alignments, Alignments) else ""
    identity = {
        "tokenizer": fingerprint(tokenizers),
        "train": " ".join([train.key, *map(str, corpora.parts), links]),
        "validation": validation.key,
    }
    return Prepared(tokenizers, train, plan, supply, validation, corpora, identity)


def _tokenizers(settings: config.Tokenizer, form: Form, train: Corpus, cache: Path) -> Tokenizers:
    """Trained on the training pairs, or found in the cache, where the same were trained on the same text."""
    told = dataclasses.asdict(settings) | {"sampling": 0.0}
    text = [digest(train.sources), digest(train.targets), TOKENIZERS_VERSION, form, json.dumps(told)]
    folder = cache / "tokenizers" / hashlib.sha256(json.dumps(text).encode()).hexdigest()[:32]
    with suppress(TransformerError):
        return load_tokenizers(folder)
    trained = train_tokenizers(settings, train.sources, train.targets, form)
    try:
        save_tokenizers(trained, folder)
    except OSError as error:
        raise TransformerError(
            f"--data.cache={cache} cannot be written ({error.strerror or error}): name another folder"
        ) from error
    return trained


def _supply(
    settings: config.Config, corpora: Corpora, train: Examples, tokenizers: Tokenizers, cache: Path
) -> tuple[Supply, Plan]:
    """The examples and plans of all epochs, and the plan of the first one."""
    data, batching, rate = settings.data, settings.batching, settings.tokenizer.sampling
    multiple = batching.batch_multiple * settings.training.accumulate
    assert train.sentences is not None
    edges = np.searchsorted(train.sentences, np.cumsum([0, *corpora.parts]))
    shares = shares_of(np.diff(edges).tolist(), data.weights, data.temperature)
    lengths = train.source_lengths, train.target_lengths
    if not rate:
        buckets = choose_buckets(*lengths, batching, multiple)
        plan = make_plan(*lengths, buckets, settings.seed, shares)
        return Same(train, plan), plan
    given = rate, settings.seed, batching, multiple, shares, data.max_length, cache
    supply = Redrawn(train, corpora.train, tokenizers, *given)
    return supply, supply.epoch(0)[1]


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
    save_tokenizers(prepared.tokenizers, run.tokenizer)
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
