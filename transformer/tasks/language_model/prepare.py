"""From settings to what training needs: text, tokenizer, examples and the batch plan."""

import dataclasses
import hashlib
import logging
from pathlib import Path
from typing import NamedTuple

from transformer.config import Config
from transformer.data.batching.epochs import FixedEpochs, choose_shapes, plan_epochs
from transformer.data.batching.plan import Share
from transformer.data.config import Data
from transformer.data.corpora.corpus import Corpus
from transformer.data.corpora.files import read_lines
from transformer.data.corpora.load import load_corpora
from transformer.data.examples import Examples
from transformer.data.tokenizers.files import fingerprint, load_tokenizers
from transformer.data.tokenizers.tokenizer import Tokenizer
from transformer.data.tokenizers.train import train_tokenizers
from transformer.errors import TransformerError, UsageError
from transformer.models.config import SequenceToSequence
from transformer.plurals import counted
from transformer.special_tokens import EOS
from transformer.storage.run import Run
from transformer.tasks.language_model import text
from transformer.tasks.language_model.config import LanguageModel
from transformer.tasks.language_model.prepared import PreparedLanguageModel

log = logging.getLogger(__name__)

HELD_OUT = 10
"""Without --data.validation the last tenth of the lines is held out."""


class Texts(NamedTuple):
    """Lines of each part."""

    train: list[str]
    validation: list[str]
    test: list[str]


def prepare(settings: Config, begun: Path | None) -> PreparedLanguageModel:
    """Read or make everything, and report it in the log.

    Args:
        settings: of the run.
        begun: a run directory whose tokenizer is used; None trains a new one.
    """
    task, model, data, batching = settings.task, settings.model, settings.data, settings.batching
    assert isinstance(task, LanguageModel)
    assert isinstance(model, SequenceToSequence)
    texts = _read(settings)
    if task.texts == "file":
        texts = Texts(*(["\n".join(part)] if part else [] for part in texts))
    if begun is None:
        joint = dataclasses.replace(settings.tokenizer, joint=True)
        tokenizers = train_tokenizers(joint, texts.train, [], data.filter.normalize)
    else:
        tokenizers = load_tokenizers(Run(begun).tokenizer)
    tokenizer = tokenizers.source
    train, left_out = examples(task, tokenizer, texts.train, data.max_length)
    if left_out:
        limit = data.max_length
        log.warning("left out of training: %s longer than --data.max-length=%d", counted(left_out, "line"), limit)
    validation, left_out = examples(task, tokenizer, texts.validation, model.max_length)
    if left_out:
        log.warning("left out of the validation loss: %s longer than --model.max-length", counted(left_out, "line"))
    if not len(train) or not len(validation):
        part = "validation" if len(train) else "training"
        raise TransformerError(f"the {part} set has no text of at most --data.max-length={data.max_length} tokens")
    log.info("vocabulary: %d entries; %s of training text", tokenizer.size, counted(len(train["text"].values), "token"))
    if task.texts == "file":
        batching = dataclasses.replace(batching, shapes=1)
    shapes = choose_shapes(train.lengths, batching, batching.batch_multiple)
    plans = plan_epochs(train.lengths, batching, shapes, settings.seed, (Share(0, 1.0),))
    epochs = FixedEpochs(train, plans)
    log.info("batches: %s", epochs.epoch(0)[1].describe(train.lengths))
    written = text.to_line if task.texts == "file" else str
    held_out = {
        name: Corpus([""] * len(part), list(map(written, part)), None, name)
        for name, part in (("validation", texts.validation), ("test", texts.test))
        if part
    }
    identity = {
        "tokenizer": fingerprint(tokenizers),
        "train": _digest(train),
        "validation": _digest(validation),
    }
    return PreparedLanguageModel(settings, tokenizers, epochs, validation, held_out, identity)


def examples(task: LanguageModel, tokenizer: Tokenizer, texts: list[str], longest: int) -> tuple[Examples, int]:
    """Examples of texts, and how many were left out as longer than `longest` tokens."""
    if task.texts == "file":
        tokens = [token for one in tokenizer.encode_all(texts) for token in one]
        return text.blocks(tokens, task.block, tokenizer.size), 0
    rows = [[*row, EOS] for row in tokenizer.encode_all(texts)]
    kept = [row for row in rows if len(row) <= longest]
    return text.lines(kept, tokenizer.size), len(rows) - len(kept)


def _read(settings: Config) -> Texts:
    data, task = settings.data, settings.task
    assert isinstance(task, LanguageModel)
    if data.source != "files":
        corpora = load_corpora(data)
        test = [] if corpora.test is None else list(corpora.test.sources)
        return Texts(list(corpora.train.sources), list(corpora.validation.sources), test)
    if data.also or data.weights:
        raise UsageError("--data.also and --data.weights are of translation: join the files, or leave them out")
    if not data.train:
        raise UsageError("--data.source=files needs --data.train, a file of text")
    train = _lines(data, "train", task)
    validation = _lines(data, "validation", task) if data.validation else []
    if not validation:
        held_out = len(train) // HELD_OUT if task.texts == "file" else min(data.held_out, len(train) // HELD_OUT)
        train, validation = train[: len(train) - held_out], train[len(train) - held_out :]
        log.info("held out for validation: the last %s", counted(held_out, "line"))
    return Texts(train, validation, _lines(data, "test", task) if data.test else [])


def _lines(data: Data, part: str, task: LanguageModel) -> list[str]:
    """The lines of a file; of a text of lines without those that are empty, which are counted."""
    path = Path(getattr(data, part)).expanduser()
    if not path.is_file():
        raise TransformerError(f"--data.{part}={path}: there is no such file of text")
    lines = read_lines(path)
    lines = lines[: data.limit] if data.limit and part == "train" else lines
    if task.texts == "file":
        return lines
    kept = [line for line in lines if line]
    if len(kept) < len(lines):
        log.info("empty lines left out of the %s set: %d", part, len(lines) - len(kept))
    return kept


def _digest(made: Examples) -> str:
    column = made["text"]
    return hashlib.sha256(column.values.tobytes() + column.lengths.tobytes()).hexdigest()[:32]
