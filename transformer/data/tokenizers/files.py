"""Tokenizers on disk: tokenizer.json and a file for each model, protected by hashes."""

import hashlib
import json
from pathlib import Path
from typing import Any

from transformer.data.tokenizers.byte_bpe import ByteBpeTokenizer
from transformer.data.tokenizers.characters import CharacterTokenizer
from transformer.data.tokenizers.labels import LabelTokenizer
from transformer.data.tokenizers.renumbered import RenumberedTokenizer
from transformer.data.tokenizers.subwords import SentencePieceTokenizer
from transformer.data.tokenizers.tokenizer import Tokenizer, Tokenizers
from transformer.data.tokenizers.whole_words import WordTokenizer
from transformer.errors import TransformerError
from transformer.storage.files import read_object

VERSION = 1
KINDS: dict[str, type[Any]] = {
    "labels": LabelTokenizer,
    "word": WordTokenizer,
    "sentencepiece": SentencePieceTokenizer,
    "characters": CharacterTokenizer,
    "byte_bpe": ByteBpeTokenizer,
    "renumbered": RenumberedTokenizer,
}
"""Tokenizers by the name that tokenizer.json gives them."""


def fingerprint(tokenizers: Tokenizers) -> str:
    """SHA-256 (hex) of both models: equal exactly if they tokenise and number every text alike."""
    hashes = [_hash(tokenizer) for tokenizer in tokenizers]
    form = tokenizers.source.form
    return hashlib.sha256("\n".join(hashes if form == "none" else [*hashes, form]).encode()).hexdigest()


def save_tokenizers(tokenizers: Tokenizers, folder: Path) -> None:
    """Write tokenizer.json and joint.model, or source.model and target.model (`.vocabulary` for words, `.labels` for
    labels)."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for name, tokenizer in _named(tokenizers).items():
        path = folder / f"{name}{tokenizer.suffix}"
        path.write_bytes(tokenizer.content)
        files[name] = {"file": path.name, "size": tokenizer.size, "sha256": _hash(tokenizer)}
        if (kind := _kind(tokenizer)) != _kind(tokenizers.source):
            files[name]["kind"] = kind
    about = {
        "version": VERSION,
        "kind": _kind(tokenizers.source),
        "joint": tokenizers.source is tokenizers.target,
        "form": tokenizers.source.form,
        "models": files,
        "fingerprint": fingerprint(tokenizers),
    }
    (folder / "tokenizer.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


def load_tokenizers(folder: Path) -> Tokenizers:
    """Read the tokenizers that `save_tokenizers` wrote. Raises TransformerError if a file is missing or was changed."""
    about = folder / "tokenizer.json"
    try:
        values = read_object(about)
        if values["version"] != VERSION:
            raise TransformerError(f"{about} has version {values['version']}; this program reads {VERSION}")
        entries = [values["models"][name] for name in (("joint",) if values["joint"] else ("source", "target"))]
        loaded: list[Tokenizer] = []
        for entry in entries:
            content = (folder / entry["file"]).read_bytes()
            if hashlib.sha256(content).hexdigest() != entry["sha256"]:
                raise TransformerError(f"{folder / entry['file']} was changed since it was saved")
            kind = KINDS[entry.get("kind", values["kind"])]
            loaded.append(kind(content, values.get("form", "none")))
    except OSError as error:
        raise TransformerError(f"{error.filename}: the tokenizer cannot be read ({error.strerror})") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise TransformerError(f"{about} is damaged ({type(error).__name__}: {error})") from None
    return Tokenizers(loaded[0], loaded[-1])


def _named(tokenizers: Tokenizers) -> dict[str, Tokenizer]:
    if tokenizers.source is tokenizers.target:
        return {"joint": tokenizers.source}
    return {"source": tokenizers.source, "target": tokenizers.target}


def _kind(tokenizer: Tokenizer) -> str:
    return next(name for name, kind in KINDS.items() if type(tokenizer) is kind)


def _hash(tokenizer: Tokenizer) -> str:
    return hashlib.sha256(tokenizer.content).hexdigest()
