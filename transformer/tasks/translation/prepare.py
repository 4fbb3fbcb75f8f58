"""From settings to what training needs: corpora, tokenizers, examples and the batch plan."""

import logging
from pathlib import Path
from threading import Event

import numpy as np

from transformer.config import Config
from transformer.data import pairs
from transformer.data.batching.epochs import EpochSource, FixedEpochs, ResampledEpochs, choose_shapes, plan_epochs
from transformer.data.batching.plan import Share, shares_of
from transformer.data.corpora.alignments import Alignments
from transformer.data.corpora.corpus import Corpora
from transformer.data.corpora.load import load_corpora
from transformer.data.examples import Examples
from transformer.data.normal_form import RESERVED, Form, normalize
from transformer.data.tokenizers.cached import cached_tokenizers
from transformer.data.tokenizers.files import fingerprint, load_tokenizers
from transformer.data.tokenizers.tokenizer import Tokenizers
from transformer.errors import TransformerError, UsageError
from transformer.models.config import SequenceToSequence
from transformer.plurals import counted
from transformer.storage.run import Run
from transformer.tasks.translation.config import Translation
from transformer.tasks.translation.prepared import PreparedTranslation

log = logging.getLogger(__name__)

MIXTURE = "2"
"""Version of the order of mixtures; a run with a different version is not resumed."""


def prepare(settings: Config, begun: Path | None) -> PreparedTranslation:
    """Read or make everything, and report it in the log. Nothing but the cache is written.

    Args:
        settings: of the run.
        begun: a run directory whose tokenizers are used, for a run that is resumed or initialised from it; None trains
        new ones.
    """
    data, cache = settings.data, Path(settings.data.cache).expanduser()
    corpora = load_corpora(data)
    log.info(
        "corpus: %s, %s",
        counted(len(corpora.train.sources), "training pair"),
        counted(len(corpora.validation.sources), "validation pair"),
    )
    if corpora.cut:
        log.info("read to --data.limit=%d; what follows was not", data.limit)
    _report_text(corpora, data.filter.normalize)
    task, model = settings.task, settings.model
    assert isinstance(task, Translation)
    assert isinstance(model, SequenceToSequence)
    if begun is None:
        tokenizers = cached_tokenizers(settings.tokenizer, corpora.train, cache, data.filter.normalize)
    else:
        tokenizers = load_tokenizers(Run(begun).tokenizer)
    log.info("vocabulary: %d source, %d target entries", tokenizers.source.size, tokenizers.target.size)
    train = pairs.build(corpora.train, tokenizers, data.max_length, cache)
    for reason, count in (corpora.skipped | train.dropped).items():
        log.warning("left out of training: %s: %s", counted(count, "pair"), reason)
    if task.guided.weight > 0:
        if corpora.train.alignments is None:
            raise UsageError(
                "--task.guided.weight needs the training pairs' word alignments: name a file with --data.alignments"
            )
        train = pairs.link(train, corpora.train, tokenizers)
        _report_links(train, data.alignments)
    validation = pairs.build(corpora.validation, tokenizers, model.max_length, cache, "--model.max-length")
    for count in validation.dropped.values():
        limit = model.max_length
        left_out = counted(count, "pair")
        log.warning("left out of the validation loss: %s: longer than --model.max-length=%d", left_out, limit)

    _report_reach(model.attention.reach, train)

    shares = _shares(settings, corpora, train)
    epochs = _epochs(settings, corpora, train, tokenizers, shares, cache)
    first, plan = epochs.epoch(0)
    log.info("batches: %s", plan.describe(first.lengths))
    links = corpora.train.alignments.digest if isinstance(corpora.train.alignments, Alignments) else ""
    identity = {
        "tokenizer": fingerprint(tokenizers),
        "train": " ".join([train.key, *map(str, corpora.parts), links]),
        "validation": validation.key,
    }
    if any(share.exact != 1 for share in shares):
        identity["mixture"] = MIXTURE
    return PreparedTranslation(settings, tokenizers, train, plan, epochs, validation, corpora, identity)


def _report_text(corpora: Corpora, form: Form) -> None:
    for name, count in corpora.shared.items():
        log.warning(
            "training pairs that are also in the %s set, whose scores are too good: %d (they stay in training; "
            "--data.filter.drop-held-out=True leaves them out)",
            name,
            count,
        )
    if corpora.replaced:
        changes = ", ".join(f"U+{ord(old):04X} by U+{ord(new):04X}" for old, new in RESERVED.items())
        log.warning(
            "training pairs with characters that tokenizers reserve, replaced (%s): %d", changes, corpora.replaced
        )
    for part in filter(None, (corpora.validation, corpora.test)):
        other = sum(normalize(target, form) != target for target in part.targets)
        if other:
            log.warning(
                "references of the %s set in another form than --data.filter.normalize=%s, which translations have: %d "
                "(they are compared as they are)",
                part.name,
                form,
                other,
            )


def _shares(settings: Config, corpora: Corpora, train: Examples) -> tuple[Share, ...]:
    """What an epoch takes from each corpus."""
    assert train.sentences is not None
    edges = np.searchsorted(train.sentences, np.cumsum([0, *corpora.parts]))
    return shares_of(np.diff(edges).tolist(), settings.data.weights, settings.data.temperature)


def _epochs(
    settings: Config,
    corpora: Corpora,
    train: Examples,
    tokenizers: Tokenizers,
    shares: tuple[Share, ...],
    cache: Path,
) -> EpochSource:
    """The examples and plans of all epochs."""
    data, batching, rate = settings.data, settings.batching, settings.tokenizer.sampling
    multiple = batching.batch_multiple
    if not rate:
        shapes = choose_shapes(train.lengths, batching, multiple)
        return FixedEpochs(train, plan_epochs(train.lengths, batching, shapes, settings.seed, shares))

    def sample(epoch: int, limit: tuple[int, ...], folder: Path, stop: Event) -> Examples:
        return pairs.sample(train, corpora.train, tokenizers, rate, settings.seed, epoch, limit, folder, stop)

    return ResampledEpochs(train, sample, settings.seed, batching, multiple, shares, data.max_length, cache)


def _report_links(train: Examples, path: str) -> None:
    """Count the pairs without links, and those with unusable ones. Raises TransformerError if these are most of the
    aligned pairs, or no pair has links."""
    assert train.links is not None
    unusable = train.links.unusable
    aligned = unusable + int(np.count_nonzero(np.diff(train.links.offsets)))
    if not aligned:
        raise TransformerError(f"{path}: no training pair has links, so nothing would be guided")
    if 2 * unusable > aligned:
        raise TransformerError(
            f"{path}: links name words beyond their sentence in {unusable:,} of {counted(aligned, 'training pair')}, "
            "so they guide nothing: do words count from 1 (--data.first-word 1), or are they another tokenization's?"
        )
    log.info("pairs without links, which guide nothing: %d", len(train.links.offsets) - 1 - aligned)
    if unusable:
        log.warning("pairs that guide nothing, because their alignment names words that do not exist: %d", unusable)


def _report_reach(reach: int | None, train: Examples) -> None:
    beyond = np.maximum(train.lengths["source"] - (reach or np.iinfo(np.int32).max), 0)
    if beyond.any():
        log.warning(
            "location attention knows %s (--model.attention.positions): tokens beyond get no attention, %s of %s",
            counted(reach or 0, "source token"),
            f"{beyond.sum():,}",
            counted(int(np.count_nonzero(beyond)), "training pair"),
        )
