"""Settings that are out of range or cannot work together, refused before anything is done."""

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Iterable
from typing import Any

from transformer.attention.scores import SCORES
from transformer.attention.windows import WINDOWS
from transformer.config import Config, Data, Guided, Model, Rnn, Transformer
from transformer.data.corpora import filters
from transformer.data.tokenizers import sampling as subwords
from transformer.errors import UsageError

# The least and the greatest value of settings that have one; what is not here takes any value of its type. Those of a
# model that another family does not have are no matter there.
RANGES: dict[str, tuple[float, float]] = {
    "seed": (0, 2**31 - 1),
    "data.held_out": (1, math.inf),
    "data.limit": (0, math.inf),
    "data.temperature": (0.1, math.inf),
    "data.max_length": (1, math.inf),
    "data.grammar.train": (1, math.inf),
    "data.grammar.validation": (1, math.inf),
    "data.grammar.test": (0, math.inf),
    "data.grammar.max_words": (5, math.inf),
    "data.grammar.max_depth": (0, math.inf),
    "tokenizer.vocabulary": (5, math.inf),
    "tokenizer.min_count": (1, math.inf),
    "tokenizer.sampling": (0, 1),
    "batching.tokens": (1, math.inf),
    "batching.rows": (0, math.inf),
    "batching.shapes": (1, math.inf),
    "batching.length_multiple": (1, math.inf),
    "batching.batch_multiple": (1, math.inf),
    "model.encoder_layers": (1, math.inf),
    "model.decoder_layers": (1, math.inf),
    "model.width": (1, math.inf),
    "model.feedforward": (1, math.inf),
    "model.attention.heads": (1, math.inf),
    "model.attention.half_width": (1, math.inf),
    "model.attention.hidden": (0, math.inf),
    "model.attention.positions": (1, math.inf),
    "model.max_length": (2, math.inf),
    "model.dropout": (0, 0.999),
    "model.attention_dropout": (0, 0.999),
    "model.feedforward_dropout": (0, 0.999),
    "model.embedding": (1, math.inf),
    "model.encoder_width": (0, math.inf),
    "model.readout": (0, math.inf),
    "optimizer.b1": (0, 0.9999999),
    "optimizer.b2": (0, 0.9999999),
    "optimizer.epsilon": (0, math.inf),
    "optimizer.rho": (0, 0.9999999),
    "optimizer.epsilon_root": (1e-30, math.inf),
    "optimizer.weight_decay": (0, math.inf),
    "optimizer.clip": (0, math.inf),
    "schedule.peak": (0, math.inf),
    "schedule.warmup": (0, math.inf),
    "schedule.final": (0, 1),
    "schedule.hold": (0, math.inf),
    "schedule.every": (1, math.inf),
    "training.steps": (1, math.inf),
    "training.minutes": (0, math.inf),
    "training.accumulate": (1, math.inf),
    "training.ema": (0, 0.9999999),
    "training.label_smoothing": (0, 0.999),
    "training.guided.weight": (0, math.inf),
    "training.loss_chunk": (1, math.inf),
    "training.log_every": (1, math.inf),
    "training.validate_every": (1, math.inf),
    "training.save_minutes": (0, math.inf),
    "training.validate_sentences": (0, math.inf),
    "training.patience": (0, math.inf),
    "training.keep_last": (1, math.inf),
    "training.keep_best": (1, math.inf),
    "decoding.beam": (1, math.inf),
    "decoding.length_penalty": (0, math.inf),
    "decoding.coverage_penalty": (0, math.inf),
    "decoding.n_best": (1, math.inf),
    "decoding.min_length": (0, 2**31 - 1),
    "decoding.samples": (0, math.inf),
    "decoding.temperature": (1e-3, math.inf),
    "decoding.top_k": (0, math.inf),
    "decoding.top_p": (1e-6, 1),
    "decoding.min_p": (0, 1),
    "decoding.seed": (0, 2**31 - 1),
    "decoding.workers": (0, 64),
    "decoding.max_ratio": (0, math.inf),
    "decoding.max_extra": (1, math.inf),
    "decoding.max_length": (0, math.inf),
    "decoding.batch": (1, math.inf),
}


def decoding(config: Config, flags: str = "--decoding.") -> None:
    """Refuse settings of a search that are out of range, or do not go with the model.

    Args:
        config: with `decoding` to be checked.
        flags: what the names of the search's settings begin with where the user gives them.

    Raises UsageError.
    """
    _ranges(config, "decoding.", flags)
    search = config.decoding
    if search.lexicon and not search.replace_unknown:
        raise UsageError(f"{flags}lexicon serves {flags}replace-unknown, which is not given")
    if search.replace_unknown and config.tokenizer.kind != "word":
        raise UsageError(
            f"{flags}replace-unknown is for --tokenizer.kind=word: with {config.tokenizer.kind} no word is unknown"
        )
    if search.looks and config.model.attention.score == "none":
        flag = next(name for name in ("replace_unknown", "coverage_penalty", "attention") if getattr(search, name))
        raise UsageError(
            f"{flags}{flag.replace('_', '-')} goes by the attention, and --model.attention.score=none has none"
        )
    if search.n_best > search.rows:
        flag = "samples" if search.samples else "beam"
        raise UsageError(f"{flags}n-best={search.n_best} of {flags}{flag}={search.rows}: raise the latter")
    drawing = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0}
    given = next((name for name, off in drawing.items() if getattr(search, name) != off), None)
    if given is not None and not search.samples:
        raise UsageError(f"{flags}{given.replace('_', '-')} is of sampling: give {flags}samples too")
    if search.max_length and search.max_length <= search.min_length:
        raise UsageError(
            f"{flags}max-length={search.max_length} leaves no room for {flags}min-length={search.min_length} and the "
            "end mark"
        )
    if search.mbr != "none" and search.samples < 2 and search.n_best < 2:
        raise UsageError(f"{flags}mbr chooses among several: give {flags}samples or {flags}n-best")


def everything(config: Config) -> None:
    """Refuse settings that are of a wrong type, out of range, or cannot work together, naming the flag. Raises
    UsageError."""
    _types(config)
    _ranges(config)
    decoding(config)
    model, batching, training = config.model, config.batching, config.training
    if isinstance(model, Rnn):
        _rnn(model)
    else:
        _transformer(model)
    if config.schedule.name in ("inverse_sqrt", "noam") and config.schedule.warmup == 0:
        raise UsageError(
            f"--schedule.warmup=0: --schedule.name={config.schedule.name} falls with the square root of it; give at "
            "least 1, or --schedule.name=constant"
        )
    if config.schedule.name == "halving" and config.schedule.hold < config.schedule.warmup:
        raise UsageError(
            f"--schedule.hold={config.schedule.hold}: the rate would be halved within --schedule.warmup="
            f"{config.schedule.warmup}; raise the one or lower the other"
        )
    if config.optimizer.weight_decay and config.optimizer.name != "adamw":
        raise UsageError(
            f"--optimizer.weight-decay is of --optimizer.name=adamw: {config.optimizer.name} would not decay anything"
        )
    if model.tie == "all" and not config.tokenizer.joint:
        raise UsageError("--model.tie=all needs one vocabulary: give --tokenizer.joint=True or --model.tie=target")
    subwords.check(config.tokenizer)
    filters.check(config.data.filter)
    if config.tokenizer.byte_fallback and config.tokenizer.kind == "word":
        raise UsageError("--tokenizer.byte-fallback=True is sentencepiece's: it does not go with --tokenizer.kind=word")
    if training.guided.weight > 0:
        _guided(training.guided, model)
        if config.tokenizer.sampling:
            raise UsageError(
                "--training.guided.weight pulls attention to given pieces; --tokenizer.sampling draws others"
            )
    _mixture(config.data)
    longest = -(-config.data.max_length // batching.length_multiple) * batching.length_multiple
    if longest > model.max_length:
        raise UsageError(
            f"--data.max-length={config.data.max_length} (rounded up to --batching.length-multiple="
            f"{batching.length_multiple}) is longer than --model.max-length={model.max_length}"
        )
    rows = batching.batch_multiple * training.accumulate
    if batching.rows % rows:
        raise UsageError(
            f"--batching.rows={batching.rows} must be a multiple of {rows} (--batching.batch-multiple="
            f"{batching.batch_multiple} x --training.accumulate={training.accumulate})"
        )
    if not batching.rows and batching.tokens < rows * longest:
        raise UsageError(
            f"--batching.tokens={batching.tokens} holds no batch of {rows} rows of {longest} tokens: "
            f"raise it to {rows * longest} or lower --data.max-length or --batching.batch-multiple"
        )
    if training.metric == "bleu" and training.validate_sentences == 0:
        raise UsageError("--training.metric=bleu needs --training.validate-sentences: raise it, or watch the loss")
    kept = {"none": 2, "last": training.keep_last, "best": training.keep_best}[training.average]
    if kept < 2:
        flag = f"--training.keep-{training.average}"
        raise UsageError(
            f"--training.average={training.average} averages what {flag} keeps: give at least 2, not {kept}"
        )


def _types(part: Any, where: str = "") -> None:
    """Settings made in Python have no types but what this checks."""
    for name, hint in typing.get_type_hints(type(part)).items():
        value, flag = getattr(part, name), f"--{where}{name}".replace("_", "-")
        if not _fits(value, hint):
            wanted = getattr(hint, "__name__", "") if isinstance(hint, type) else str(hint).replace("typing.", "")
            raise UsageError(f"{flag} is {value!r}: it must be {wanted}")
        if dataclasses.is_dataclass(value):
            _types(value, f"{where}{name}.")


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value is of a type that settings have; an int serves as a float, a bool as neither."""
    kind, items = typing.get_origin(hint), typing.get_args(hint)
    if kind in (typing.Union, types.UnionType):
        return any(_fits(value, item) for item in items)
    if kind is typing.Literal:
        return any(type(value) is type(item) and value == item for item in items)
    if kind is tuple:
        wanted = items[:1] * len(value) if items[-1] is ... and isinstance(value, tuple) else items
        return isinstance(value, tuple) and len(value) == len(wanted) and all(map(_fits, value, wanted))
    if hint in (int, float) and isinstance(value, bool):
        return False
    return isinstance(value, int | float if hint is float else hint)


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
        raise UsageError("--data.temperature makes shares out of sizes, and --data.weights gives them: take one")


def _guided(guided: Guided, model: Model) -> None:
    if model.attention.score == "none":
        raise UsageError("--training.guided.weight pulls attention, and --model.attention.score=none has none")
    layers, heads = model.cross
    if not -layers <= guided.layer < layers:
        raise UsageError(f"--training.guided.layer={guided.layer}: the attention to the source has {layers} layer(s)")
    if not guided.heads or not all(0 <= head < heads for head in guided.heads):
        wrong = " ".join(map(str, guided.heads)) or "nothing"
        raise UsageError(f"--training.guided.heads {wrong}: give some of 0 to {heads - 1}")


def _known(flag: str, name: str, names: Iterable[str]) -> None:
    there = list(names)
    if name not in there:
        near = difflib.get_close_matches(name, there, n=1, cutoff=0.0)[0]
        raise UsageError(
            f"--model.attention.{flag}={name} is unknown: did you mean {near}? There are {', '.join(there)}"
        )


def _rnn(model: Rnn) -> None:
    attention, encoder = model.attention, model.encoder_width or model.width
    if attention.fused == "always":
        raise UsageError(
            "--model.attention.fused=always is of the Transformer: a recurrent decoder looks token by token"
        )
    memory = encoder * (2 if model.bidirectional else 1)
    _known("score", attention.score, [*SCORES, "none"])
    _known("window", attention.window, WINDOWS)
    if attention.score != "none" and SCORES[attention.score].equal_widths and memory != model.width:
        raise UsageError(
            f"--model.attention.score={attention.score} compares vectors of one width, but the source's states are "
            f"{memory} wide (all directions) and the target's {model.width}: take general, or another "
            "--model.encoder-width"
        )
    if model.decoder == "luong" and not model.bidirectional and model.encoder_layers != model.decoder_layers:
        raise UsageError(
            f"--model.encoder-layers={model.encoder_layers} hand their states to --model.decoder-layers="
            f"{model.decoder_layers}: give both the same number, or --model.bidirectional=True"
        )
    if model.decoder == "luong" and not model.bidirectional and encoder != model.width:
        raise UsageError(
            f"--model.encoder-width={encoder} hands its states to --model.width={model.width}: give both the same "
            "width, or --model.bidirectional=True"
        )
    attends = model.decoder == "luong" and attention.score != "none"
    given = model.readout if attends or model.decoder == "bahdanau" else 0
    readout = given or (model.width if model.decoder == "luong" else max(1, model.width // 2))
    if model.tie != "none" and readout != model.embedding:
        raise UsageError(
            f"--model.tie={model.tie} needs the output layer's input ({readout} wide) as wide as --model.embedding="
            f"{model.embedding}: give --model.readout={model.embedding} or --model.tie=none"
        )


def _transformer(model: Transformer) -> None:
    attention = model.attention
    _known("score", attention.score, SCORES)
    _known("window", attention.window, WINDOWS)
    if model.width % attention.heads:
        raise UsageError(
            f"--model.width={model.width} does not divide into --model.attention.heads={attention.heads} heads"
        )
    if attention.fused == "always":
        fits = (attention.score, attention.window) == ("scaled_dot", "global")
        if not fits and len(set(attention.places)) == 3:
            raise UsageError(
                f"--model.attention.fused=always is of scaled_dot and global: with --model.attention.score="
                f"{attention.score} and --model.attention.window={attention.window} nothing would be fused"
            )
        if model.attention_dropout > 0:
            raise UsageError(
                f"--model.attention.fused=always has no weights to drop: give --model.attention-dropout=0, not "
                f"{model.attention_dropout}"
            )
    if WINDOWS[attention.window].needs_lengths and "decoder" in attention.places:
        raise UsageError(
            f"--model.attention.window={attention.window} needs the length of the sentence, and the decoder's own has "
            "none while it is written: give --model.attention.places encoder cross"
        )


def _ranges(config: Config, prefix: str = "", flags: str = "--") -> None:
    for name, (low, high) in RANGES.items():
        if not name.startswith(prefix):
            continue
        value: Any = config
        for part in name.split("."):
            value = getattr(value, part, None)
        if value is None:
            continue
        if not low <= value <= high or value == math.inf:  # NaN is in no range
            limits = f"at least {low}" if high == math.inf else f"from {low} to {high}"
            flag = flags + name.removeprefix(prefix).replace("_", "-")
            raise UsageError(f"{flag} must be {limits}, not {value}")
