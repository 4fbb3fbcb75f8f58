"""Folders of Hugging Face's MarianMTModel: read as a run, and written from one."""

import dataclasses
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from transformer import check, config, fields
from transformer.data.tokenizers.renumbered import RenumberedTokenizer
from transformer.data.tokenizers.sampling import kind_of
from transformer.data.tokenizers.tokenizer import Tokenizers
from transformer.errors import TransformerError, UsageError
from transformer.interop import vocabularies
from transformer.interop.tensors import Tensors, read_json, write_tensors
from transformer.models.transformer import marian
from transformer.plurals import counted
from transformer.special_tokens import BOS, EOS, PAD
from transformer.storage.files import write_json

log = logging.getLogger(__name__)

DEFAULTS: dict[str, Any] = {
    "vocab_size": 58101,
    "max_position_embeddings": 1024,
    "encoder_layers": 12,
    "encoder_ffn_dim": 4096,
    "encoder_attention_heads": 16,
    "decoder_layers": 12,
    "decoder_ffn_dim": 4096,
    "decoder_attention_heads": 16,
    "activation_function": "gelu",
    "d_model": 1024,
    "dropout": 0.1,
    "attention_dropout": 0.0,
    "activation_dropout": 0.0,
    "decoder_start_token_id": 58100,
    "scale_embedding": False,
    "pad_token_id": 58100,
    "eos_token_id": 0,
    "share_encoder_decoder_embeddings": True,
    "tie_word_embeddings": True,
}
"""Of MarianConfig, of transformers 5.24: what config.json leaves out."""
SEARCH: dict[str, Any] = {"num_beams": 1, "length_penalty": 1.0, "max_length": 0}
"""Of the search, in generation_config.json, or in config.json of older versions; 0: no limit of its own."""
POSITIONS = ("model.encoder.embed_positions.weight", "model.decoder.embed_positions.weight")
"""Sinusoids, which older versions wrote too."""


class Imported(NamedTuple):
    """A model as a run has it."""

    settings: config.Config
    tokenizers: Tokenizers
    parameters: dict[str, np.ndarray]
    """By their dotted names."""


def read(folder: Path, languages: tuple[str, str] | None = None) -> Imported:
    """A folder with a MarianMTModel and its MarianTokenizer.

    Args:
        folder: with config.json, model.safetensors, vocab.json, source.spm and target.spm.
        languages: of source and target; None: those of tokenizer_config.json.

    Raises:
        TransformerError: a file is missing, damaged, or does not fit the others.
        UsageError: the model has a setting without a counterpart here.
    """
    path = folder / "config.json"
    found = read_json(path)
    if found.get("model_type") != "marian":
        raise UsageError(f"{path}: model_type is {found.get('model_type')!r}; only marian and gpt2 can be imported")
    values = filled(path, found, DEFAULTS)
    target_size = values["vocab_size"]
    values |= filled(path, found, {"decoder_vocab_size": target_size})
    if values["share_encoder_decoder_embeddings"] and values["decoder_vocab_size"] != target_size:
        raise TransformerError(f"{path}: one table of embeddings cannot serve vocabularies of {target_size:,} and "
                               f"{values['decoder_vocab_size']:,} entries")  # fmt: skip
    try:
        model = marian.settings(values)
        search, about = _search(folder, found), _optional(folder / "tokenizer_config.json")
        tokenizers, orders = vocabularies.read(folder, values, about)
        settings = config.Config(
            data=config.Data(
                source="files", languages=languages or _languages(about), max_length=min(128, model.max_length)
            ),
            tokenizer=_tokenizer(tokenizers, joint=orders[0].size == orders[1].size and model.tie == "all"),
            model=model,
            decoding=search,
        )
        fields.check(settings)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None
    with Tensors(folder) as tensors:
        bias = "final_logits_bias" in tensors.names
        model, parameters = marian.parameters(model, *orders, tensors.read, has_output_bias=bias)
        unused = tensors.names - tensors.read_names - set(POSITIONS) - _tied(model)
        if unused:
            log.warning("%s: %s not read: %s", folder, counted(len(unused), "tensor"), ", ".join(sorted(unused)[:5]))
    settings = dataclasses.replace(settings, model=model)
    check.everything(settings)
    return Imported(settings, tokenizers, parameters)


def write(folder: Path, settings: config.Config, tokenizers: Tokenizers, parameters: Mapping[str, np.ndarray]) -> None:
    """Write a folder that MarianMTModel and MarianTokenizer load.

    Args:
        folder: exists and is empty.
        settings: of the run.
        tokenizers: of the run.
        parameters: by their dotted names.

    Raises UsageError for a setting without a counterpart there. Nothing is written then.
    """
    model = marian_model(settings)
    sizes = tokenizers.source.size, tokenizers.target.size
    files, about = vocabularies.files(tokenizers, settings.data.languages)
    special = {"pad_token_id": PAD, "bos_token_id": BOS, "eos_token_id": EOS, "decoder_start_token_id": BOS}
    described = marian.config(model, sizes) | special | {"forced_eos_token_id": EOS}
    tensors = marian.tensors(model, parameters)
    search = settings.decoding
    longest = min(search.max_length or model.max_length, model.max_length)
    generation = special | {
        "forced_eos_token_id": EOS,
        "bad_words_ids": [[PAD], [BOS]],
        "num_beams": search.beam,
        "length_penalty": search.length_penalty if search.normalize == "average" else 1.0,
        "early_stopping": "never" if search.beam > 1 else False,
        "max_length": longest + 1,  # the start token is counted there
    }
    write_json(folder / "config.json", described)
    write_json(folder / "generation_config.json", generation)
    write_json(folder / "tokenizer_config.json", about | {"model_max_length": model.max_length})
    for name, content in files.items():
        (folder / name).write_bytes(content)
    write_tensors(folder / "model.safetensors", tensors)


def marian_model(settings: config.Config) -> config.Transformer:
    """The settings of the model. Raises UsageError where it is no Transformer."""
    if not isinstance(settings.model, config.Transformer):
        raise UsageError(
            f"a {type(settings.model).__name__} model has no counterpart in Marian: only a Transformer has"
        )
    return settings.model


def filled(path: Path, found: Mapping[str, object], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The values of these names, of the types of the defaults."""
    values = {}
    for name, default in defaults.items():
        value = found.get(name)
        value = default if value is None else value
        kinds = (int, float) if isinstance(default, float) else type(default)
        if not isinstance(value, kinds) or isinstance(value, bool) != isinstance(default, bool):
            raise TransformerError(f"{path}: {name} is {value!r}, and must be of the type {type(default).__name__}")
        values[name] = float(value) if isinstance(default, float) else value
    return values


def _optional(path: Path) -> dict[str, object]:
    return read_json(path) if path.is_file() else {}


def _search(folder: Path, found: Mapping[str, object]) -> config.Decoding:
    """The search of `generate`, whose score is the log-probability by length ** length_penalty."""
    path = folder / "generation_config.json"
    own = filled(path, {name: found.get(name) for name in SEARCH} | _optional(path), SEARCH)
    longest = own["max_length"] - 1  # the start token is counted there
    return config.Decoding(
        beam=own["num_beams"],
        normalize="average",
        length_penalty=own["length_penalty"],
        max_ratio=0.0,
        max_extra=longest if longest > 0 else 2**20,
        max_length=max(longest, 0),
    )


def _languages(about: Mapping[str, object]) -> tuple[str, str]:
    names = [about.get(f"{side}_lang") for side in vocabularies.SIDES]
    source, target = [name if isinstance(name, str) and name.isalnum() else side
                      for name, side in zip(names, vocabularies.SIDES, strict=True)]  # fmt: skip
    return (source, target) if source != target else vocabularies.SIDES


def _tokenizer(tokenizers: Tokenizers, *, joint: bool) -> config.Tokenizer:
    source = tokenizers.source
    model = source.model if isinstance(source, RenumberedTokenizer) else source.content
    size = max(source.size, tokenizers.target.size)
    return config.Tokenizer(kind=kind_of(model), vocabulary=size, joint=joint or tokenizers.target is source)


def _tied(model: config.Transformer) -> set[str]:
    """Names of tensors that are others of the same ones."""
    names = {"model.shared.weight"}
    if model.tie != "none":
        names.add("lm_head.weight")
    if model.tie == "all":
        names |= {"model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight"}
    return names
