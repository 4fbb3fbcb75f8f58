"""Marian's tokenizers in a folder of Hugging Face: source.spm, target.spm, vocab.json."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece

from transformer.data.tokenizers.renumbered import RenumberedTokenizer
from transformer.data.tokenizers.subwords import SentencePieceTokenizer
from transformer.data.tokenizers.tokenizer import Tokenizer, Tokenizers
from transformer.errors import TransformerError, UsageError
from transformer.interop.tensors import read_json
from transformer.models.transformer.marian import Order
from transformer.special_tokens import EOS, PAD, SPECIAL_TOKENS, UNK

LARGEST_MODEL = 1 << 28
"""Bytes of a sentencepiece model that is read."""
SIDES = ("source", "target")


def read(folder: Path, config: Mapping[str, Any], about: Mapping[str, Any]) -> tuple[Tokenizers, tuple[Order, Order]]:
    """The tokenizers of a folder, and how their tokens are numbered there.

    Args:
        folder: that holds them.
        config: config.json, with all defaults filled in.
        about: tokenizer_config.json.

    Raises TransformerError where a file is missing or does not fit config.json.
    """
    separate = about.get("separate_vocabs") is True
    files = ("vocab.json", "target_vocab.json" if separate else "vocab.json")
    named = [(folder / name, *_vocabulary(folder / name)) for name in dict.fromkeys(files)]
    orders, contents = [], []
    for side, (path, pieces, unknown), size in zip(SIDES, (named[0], named[-1]), _sizes(config), strict=True):
        if len(pieces) != size:
            raise TransformerError(f"{path} has {len(pieces):,} entries, and config.json asks for {size:,}")
        pad, start, eos = (config[name] for name in ("pad_token_id", "decoder_start_token_id", "eos_token_id"))
        special = [pad, unknown, start, eos]
        if not all(0 <= id_ < size for id_ in special) or len({pad, unknown, eos}) < 3 or start in (unknown, eos):
            raise TransformerError(
                f"{path}: the ids of padding, unknown, start and end token are {special} of {size:,}, which must be "
                "different (start and padding may be one)"
            )
        rest = [id_ for id_ in range(size) if id_ not in special]
        orders.append(Order(np.array([*special, *rest]), size, start == pad))
        names = [pieces[id_] for id_ in orders[-1].ids]
        if start == pad:
            names[2] = next(name for name in ("<s>", "<start>", "<s >") if name not in pieces)
        contents.append((names, _model(folder / f"{side}.spm")))
    return _tokenizers(contents), (orders[0], orders[1])


def files(tokenizers: Tokenizers, languages: tuple[str, str]) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Content of each file for MarianTokenizer, and tokenizer_config.json.

    Raises UsageError for a tokenizer without a sentencepiece model.
    """
    found, every = dict[str, bytes](), []
    for side, tokenizer in zip(SIDES, tokenizers, strict=True):
        if isinstance(tokenizer, RenumberedTokenizer):
            found[f"{side}.spm"] = tokenizer.model
        elif isinstance(tokenizer, SentencePieceTokenizer):
            found[f"{side}.spm"] = tokenizer.content
        else:
            raise UsageError(
                "--tokenizer.kind=word has no counterpart in Marian, which has pieces: give bpe or unigram"
            )
        every.append(tokenizer.pieces(range(tokenizer.size)))
    separate = every[0] != every[1]
    for name, pieces in zip(("vocab.json", "target_vocab.json") if separate else ("vocab.json",), every, strict=False):
        ids = {piece: id_ for id_, piece in enumerate(pieces)}
        found[name] = json.dumps(ids, ensure_ascii=False, indent=0).encode("utf-8")
    unknown, end, padding = (every[0][id_] for id_ in (UNK, EOS, PAD))
    about = {
        "tokenizer_class": "MarianTokenizer",
        "source_lang": languages[0],
        "target_lang": languages[1],
        "separate_vocabs": separate,
        "unk_token": unknown,
        "eos_token": end,
        "pad_token": padding,
    }
    return found, about


def _sizes(config: Mapping[str, Any]) -> tuple[int, int]:
    return config["vocab_size"], config["decoder_vocab_size"]


def _vocabulary(path: Path) -> tuple[list[str], int]:
    """The pieces of a vocabulary by id, and the id of the unknown token."""
    ids = read_json(path)
    pieces = [""] * len(ids)
    seen = set()
    for piece, id_ in ids.items():
        if not isinstance(id_, int) or isinstance(id_, bool) or not 0 <= id_ < len(ids) or id_ in seen:
            raise TransformerError(f"{path}: {piece!r} has the id {id_!r}; ids are 0 to {len(ids) - 1}, each once")
        pieces[id_] = piece
        seen.add(id_)
    unknown = ids.get("<unk>")
    if not isinstance(unknown, int):
        raise TransformerError(f"{path} has no entry <unk>")
    return pieces, unknown


def _model(path: Path) -> bytes:
    try:
        if path.stat().st_size > LARGEST_MODEL:
            raise TransformerError(f"{path} has {path.stat().st_size:,} bytes, which is too large for a tokenizer")
        content = path.read_bytes()
    except FileNotFoundError:
        raise TransformerError(f"{path.parent} has no file {path.name}") from None
    except OSError as error:
        raise TransformerError(f"{path} cannot be read ({error.strerror})") from error
    try:
        sentencepiece.SentencePieceProcessor(model_proto=content)
    except RuntimeError:
        raise TransformerError(f"{path} is not a sentencepiece model") from None
    return content


def _tokenizers(contents: list[tuple[list[str], bytes]]) -> Tokenizers:
    """Plain ones where the pieces of both are numbered as the models number them."""
    plain = [SentencePieceTokenizer(model) for _, model in contents]
    if all(_is_plain(tokenizer, names) for tokenizer, (names, _) in zip(plain, contents, strict=True)):
        every: list[Tokenizer] = [*plain]
    else:
        every = [RenumberedTokenizer(RenumberedTokenizer.pack(names, model)) for names, model in contents]
    source, target = every
    return Tokenizers(source, source if source.content == target.content else target)


def _is_plain(tokenizer: SentencePieceTokenizer, names: list[str]) -> bool:
    return tuple(names[: len(SPECIAL_TOKENS)]) == SPECIAL_TOKENS and names == tokenizer.pieces(range(tokenizer.size))
