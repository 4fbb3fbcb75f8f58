"""Folders of Hugging Face's GPT2LMHeadModel: read as a run."""

import logging
from pathlib import Path
from typing import Any

from transformer import check, config, fields
from transformer.data.tokenizers.byte_bpe import ByteBpeTokenizer
from transformer.data.tokenizers.tokenizer import Tokenizers
from transformer.errors import TransformerError, UsageError
from transformer.interop.huggingface import Imported, filled
from transformer.interop.tensors import Tensors, read_json
from transformer.models.gpt import gpt2
from transformer.plurals import counted

log = logging.getLogger(__name__)

DEFAULTS: dict[str, Any] = {
    "vocab_size": 50257,
    "n_positions": 1024,
    "n_embd": 768,
    "n_layer": 12,
    "n_head": 12,
    "n_inner": 0,
    "activation_function": "gelu_new",
    "resid_pdrop": 0.1,
    "attn_pdrop": 0.1,
    "layer_norm_epsilon": 1e-5,
    "tie_word_embeddings": True,
    **gpt2.PLAIN,
}
"""Of GPT2Config, of transformers 5.24: what config.json leaves out; n_inner 0: four times the width."""
END = "<|endoftext|>"
MERGES = 1 << 26
"""Bytes of merges.txt that are read."""
MASKS = ("attn.bias", "attn.masked_bias")
"""Causal masks, which older versions wrote too."""


def read(folder: Path) -> Imported:
    """A folder with a GPT2LMHeadModel and its GPT2Tokenizer.

    Args:
        folder: with config.json, model.safetensors, vocab.json and merges.txt.

    Raises:
        TransformerError: a file is missing, damaged, or does not fit the others.
        UsageError: the model has a setting without a counterpart here.
    """
    path = folder / "config.json"
    values = filled(path, read_json(path), DEFAULTS)
    vocabulary, tokenizer = _tokenizer(folder, values["vocab_size"])
    try:
        model = gpt2.settings(values)
        settings = config.Config(
            data=config.Data(source="files", train="text.txt", max_length=min(128, model.max_length)),
            tokenizer=config.Tokenizer(kind="byte_bpe", vocabulary=tokenizer.size),
            task=config.LanguageModel(texts="file", block=model.text_length),
            batching=config.Batching(rows=8, tokens=8 * (model.text_length + 1)),
            model=model,
            decoding=config.Decoding(beam=1),
        )
        fields.check(settings)
        check.everything(settings)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None
    rows = gpt2.order(vocabulary, tokenizer.pieces(range(tokenizer.size)))
    with Tensors(folder) as tensors:
        parameters = gpt2.parameters(model, values["n_positions"], rows, values["vocab_size"], tensors.read)
        unused = {name for name in tensors.names - tensors.read_names if not name.endswith(MASKS)}
        unused -= {"lm_head.weight"} if model.tie == "all" else set()
        if unused:
            log.warning("%s: %s not read: %s", folder, counted(len(unused), "tensor"), ", ".join(sorted(unused)[:5]))
    return Imported(settings, Tokenizers(tokenizer, tokenizer), parameters)


def _tokenizer(folder: Path, size: int) -> tuple[dict[str, int], ByteBpeTokenizer]:
    """vocab.json, and the tokenizer. Raises TransformerError where the files do not fit each other."""
    path, merges = folder / "vocab.json", folder / "merges.txt"
    found = read_json(path)
    vocabulary = {piece: id_ for piece, id_ in found.items() if isinstance(id_, int) and not isinstance(id_, bool)}
    if len(vocabulary) != len(found) or sorted(vocabulary.values()) != list(range(size)):
        raise TransformerError(f"{path} does not number {size:,} entries from 0 on, as config.json asks")
    if END not in vocabulary:
        raise TransformerError(f"{path} has no {END}, with which GPT-2 begins and ends a text")
    try:
        if merges.stat().st_size > MERGES:
            raise TransformerError(f"{merges} is too large for the merges of a tokenizer")
        pairs = merges.read_text(encoding="utf-8")
        return vocabulary, ByteBpeTokenizer.of_gpt2(vocabulary, pairs)
    except OSError as error:
        raise TransformerError(f"{merges} cannot be read ({error.strerror})") from None
    except (ValueError, TransformerError) as error:
        raise TransformerError(f"{path} and {merges.name} are no byte-level BPE ({error})") from None
