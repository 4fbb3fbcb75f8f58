"""Refuses settings that have a wrong type, are out of range or contradict each other, before anything is done.

Types and ranges are the annotations of the fields. Each part (a family, a task) has its own `check`; checks across
several parts are here.
"""

import math

from transformer import fields
from transformer.config import Config
from transformer.data.config import Data
from transformer.decoding import config as decoding_config
from transformer.errors import UsageError
from transformer.models.rnn.config import Rnn


def everything(config: Config) -> None:
    """Refuse settings that cannot work, naming the flag. Raises UsageError."""
    fields.check(config)
    data, tokenizer, training = config.data, config.tokenizer, config.training
    for part in (data.filter, tokenizer, config.schedule, config.optimizer, config.model, training):
        part.check()
    decoding(config)
    config.task.check(config)
    if config.schedule.name == "noam" and not hasattr(config.model, "width"):
        raise UsageError(
            f"--schedule.name=noam follows --model.width, and a {type(config.model).__name__} has none: give another"
        )
    _optimizer(config)
    _mixture(config.data)
    _batches(config)


def _optimizer(config: Config) -> None:
    name, training = config.optimizer.name, config.training
    if name == "muon" and isinstance(config.model, Rnn):
        raise UsageError("--optimizer.name=muon updates the matrices of a Transformer's layers: give adamw")
    if not config.optimizer.averages:
        return
    flag = f"--optimizer.name={name}"
    if config.schedule.name != "constant":
        raise UsageError(f"{flag} averages in place of a falling rate: give --schedule.name=constant")
    for option, given, none in (("ema", training.ema > 0, "0"), ("average", training.average != "none", "none")):
        if given:
            raise UsageError(f"{flag} has an average of its own: give --training.{option}={none}")


def decoding(config: Config, flags: str = "--decoding.") -> None:
    """Refuse settings of a search that are out of range, or incompatible with the model.

    Args:
        config: with `decoding` to be checked.
        flags: the prefix of the search's settings as the user gives them.

    Raises UsageError.
    """
    fields.check(config.decoding, flags)
    decoding_config.check(config.decoding, config.tokenizer.kind, getattr(config.model, "attention", None), flags)


def _batches(config: Config) -> None:
    batching, data = config.batching, config.data
    if batching.pack:
        _packing(config)
    longest = -(-data.max_length // batching.length_multiple) * batching.length_multiple
    limit = getattr(config.model, "max_length", None)
    if limit is not None and longest > limit:
        raise UsageError(
            f"--data.max-length={data.max_length} (rounded up to --batching.length-multiple="
            f"{batching.length_multiple}) is longer than --model.max-length={limit}"
        )
    rows = batching.batch_multiple
    if batching.rows % rows:
        raise UsageError(
            f"--batching.rows={batching.rows} must be a multiple of {rows}, which is --batching.batch-multiple"
        )
    longest = max(longest, -(-batching.pack // batching.length_multiple) * batching.length_multiple)
    if not batching.rows and batching.tokens < rows * longest:
        raise UsageError(
            f"--batching.tokens={batching.tokens} holds no batch of {rows} rows of {longest} tokens: raise it to "
            f"{rows * longest} or lower {'--batching.pack' if batching.pack else '--data.max-length'} or "
            "--batching.batch-multiple"
        )


def _packing(config: Config) -> None:
    batching, data = config.batching, config.data
    config.model.check_packing()
    if batching.pack < data.max_length:
        raise UsageError(
            f"--batching.pack={batching.pack} is shorter than --data.max-length={data.max_length}, and a row holds "
            "whole sentences: raise it or lower --data.max-length"
        )
    if batching.rows:
        raise UsageError(
            f"--batching.rows={batching.rows} counts sentences, and rows of --batching.pack hold several: give "
            "--batching.tokens, or --batching.pack=0"
        )
    if config.tokenizer.sampling and (data.weights or data.temperature != 1):
        raise UsageError(
            "--batching.pack with --tokenizer.sampling has other rows in every epoch, of which no corpus can give a "
            "part: leave out --data.weights and --data.temperature, or give --batching.pack=0"
        )


def _mixture(data: Data) -> None:
    if not data.weights:
        return
    if len(data.weights) != 1 + len(data.also):
        raise UsageError(
            f"--data.weights has {len(data.weights)} shares for {1 + len(data.also)} corpora (--data.train and those "
            "of --data.also)"
        )
    if not all(0 <= weight < math.inf for weight in data.weights) or not sum(data.weights):
        raise UsageError(f"--data.weights {' '.join(map(str, data.weights))}: shares are 0 or more, and not all 0")
    if data.temperature != 1:
        raise UsageError("--data.temperature computes shares from sizes, and --data.weights gives them: use one")
