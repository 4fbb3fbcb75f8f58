"""Tokenizers of a training text, trained or found in the cache."""

import dataclasses
import hashlib
import json
from contextlib import suppress
from pathlib import Path

from transformer.data import config
from transformer.data.cache import cached_folder
from transformer.data.corpora.corpus import Corpus
from transformer.data.corpora.text import digest
from transformer.data.normal_form import Form
from transformer.data.tokenizers.files import VERSION, load_tokenizers, save_tokenizers
from transformer.data.tokenizers.labels import LabelTokenizer
from transformer.data.tokenizers.tokenizer import Tokenizers
from transformer.data.tokenizers.train import train_tokenizers
from transformer.errors import TransformerError


def cached_tokenizers(
    settings: config.Tokenizer, train: Corpus, cache: Path, form: Form = "none", *, labels: bool = False
) -> Tokenizers:
    """Trained on the training pairs, or found in the cache, where the same were trained on the same text.

    Args:
        settings: of the tokenizers.
        train: the pairs.
        cache: the folder of all caches.
        form: the Unicode normal form of the text.
        labels: whether the targets are labels, which are not cut into pieces.

    Raises:
        TransformerError: see `train_tokenizers`, and `LabelTokenizer.train` for labels.
    """
    told = dataclasses.asdict(settings) | {"sampling": 0.0} | ({"labels": True} if labels else {})
    text = [digest(train.sources), digest(train.targets), VERSION, form, json.dumps(told)]
    folder = cache / "tokenizers" / hashlib.sha256(json.dumps(text).encode()).hexdigest()[:32]

    def read(found: Path) -> Tokenizers | None:
        with suppress(TransformerError):
            return load_tokenizers(found)
        return None

    def make(unfinished: Path) -> None:
        if labels:
            alone = dataclasses.replace(settings, joint=True)
            source = train_tokenizers(alone, train.sources, [], form).source
            found = Tokenizers(source, LabelTokenizer.of(train.targets))
        else:
            found = train_tokenizers(settings, train.sources, train.targets, form)
        save_tokenizers(found, unfinished)

    return cached_folder(folder, read, make, str(cache), resumes=False)
