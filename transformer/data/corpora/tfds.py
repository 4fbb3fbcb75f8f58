"""Translation datasets of TFDS (TensorFlow Datasets), under their TFDS names, read without TensorFlow.

A dataset is prepared once (`download`) into `FOLDER/DATASET/CONFIG/VERSION/`, as files with random access
(array_record). From then on it is read only from that folder (`open_split`), without network access.
The order is that of the prepared files; TFDS shuffles when it prepares a dataset, always in the same way.
"""

import contextlib
import logging
import os
import re
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from transformer.data.corpora.tfds_checks import (
    FORMAT,
    PREPARE,
    DatasetName,
    Layout,
    check_format,
    check_known,
    check_languages,
    check_split,
    one_line,
    parse_name,
)
from transformer.errors import TransformerError

log = logging.getLogger(__name__)

CHUNK = 4_096
"""Pairs read at a time while iterating; bounds the memory."""


class Pairs:
    """All pairs of a split, in the order of its files. Made by `open_split`.

    They stay on disk: memory does not grow with the split. Pairs can be pickled and read in several processes at once,
    but these must be spawned: a fork of a process that has read may hang, because it lacks the reader's threads.
    Each side is stripped and its newlines become spaces, so that it is one line; it is "" if the dataset has no
    translation into that language.
    """

    def __init__(self, folder: Path, split: str, languages: tuple[str, str], layout: "Layout"):
        self.folder, self.split, self.languages, self.layout = folder, split, languages, layout
        from tensorflow_datasets.core.decode import DeserializeMethod

        # Raw bytes: for text, `read` decodes them in the same way as TFDS and more than twice as fast.
        self._records = _builder(folder).as_data_source(
            split, deserialize_method=DeserializeMethod.RAW_BYTES, file_format=FORMAT
        )

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        for start in range(0, len(self), CHUNK):
            yield from self.read(start, min(start + CHUNK, len(self)))

    def __reduce__(self) -> tuple[Any, ...]:
        return Pairs, (self.folder, self.split, self.languages, self.layout)

    def read(self, start: int, stop: int) -> list[tuple[str, str]]:
        """The pairs start, ..., stop - 1.

        Raises:
            IndexError: not 0 <= start <= stop <= len.
            TransformerError: damaged files.
        """
        from tensorflow_datasets.proto import tf_example_pb2

        if not 0 <= start <= stop <= len(self):
            raise IndexError(f"pairs {start} to {stop} of {len(self)}")
        if start == stop:
            return []
        parse, side = tf_example_pb2.Example.FromString, _first_of_language if self.layout.variable else _only
        prefix, (source, target) = self.layout.prefix, self.languages
        try:
            features = (parse(record).features.feature for record in self._records.__getitems__(range(start, stop)))
            pairs = [(side(feature, prefix, source), side(feature, prefix, target)) for feature in features]
        except Exception as error:  # protobuf, array_record and UTF-8 raise different types
            raise TransformerError(
                f"{self.folder}: {self.split} is damaged between pair {start} and {stop} ({one_line(error)}): remove "
                f"that folder and run {PREPARE}"
            ) from error
        return pairs


def default_folder() -> Path:
    """The folder of TFDS datasets: TFDS_DATA_DIR, or ~/tensorflow_datasets."""
    return Path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()


def open_split(
    name: str, split: str, languages: tuple[str, str], folder: Path | None = None, *, flag: str = "--data.train"
) -> Pairs:
    """Open a split of a prepared dataset, as pairs in the direction of `languages`.

    Args:
        name: dataset, config and optionally version, such as `wmt14_translate/de-en` or
            `wmt14_translate/de-en:1.0.0`; the default is the newest prepared version.
        split: a name, a slice or a sum, in the syntax of TFDS: `train`, `train[:1000]`, `train[10%:]+validation`.
        languages: source and target, as the dataset names them, in any order.
        folder: contains all datasets; None is `default_folder()`.
        flag: the setting that names the split, for messages.

    Raises:
        UsageError: no such dataset, config, version, split or language; the message names the nearest.
        TransformerError: the dataset is not prepared, or cannot be read.
    """
    folder = default_folder() if folder is None else Path(folder).expanduser()
    requested = parse_name(name)
    path = _prepared(requested, folder)
    if path is None:
        check_known(requested, folder, languages)
        raise TransformerError(f"{requested} is not prepared in {folder}: run {PREPARE} with network access")
    info = _builder(path).info
    check_format(info, path)
    layout = check_languages(info, requested, languages)
    check_split(info, requested, split, flag)
    return Pairs(path, split, languages, layout)


def download(name: str, folder: Path | None = None) -> Path:
    """Download and prepare a dataset, unless it is prepared already.

    Needs the network, disk space, TensorFlow (to extract archives), and hours for the largest datasets of WMT.

    Returns:
        Its folder.

    Raises:
        UsageError: like `open_split`.
        TransformerError: the cause, in one line.
    """
    folder = default_folder() if folder is None else Path(folder).expanduser()
    requested = parse_name(name)
    path = _prepared(requested, folder)
    if path is not None:
        check_format(_builder(path).info, path)
        log.info("%s is prepared in %s", requested, path)
        return path
    builder_class = check_known(requested, folder)
    if find_spec("tensorflow") is None:
        raise TransformerError(_tensorflow_is_missing(requested))
    try:
        with contextlib.redirect_stdout(sys.stderr):  # TFDS prints, but standard output is for results
            builder = builder_class(
                config=requested.config, version=requested.version, data_dir=os.fspath(folder), file_format=FORMAT
            )
            builder.download_and_prepare(file_format=FORMAT)
    except ImportError as error:
        if (error.name or "").startswith("tensorflow"):
            raise TransformerError(_tensorflow_is_missing(requested)) from error
        raise TransformerError(f"{requested} needs a package that is missing: pip install {error.name}") from error
    except Exception as error:  # from requests, TFDS, the disk, or the dataset's own code
        raise TransformerError(f"{requested} could not be prepared in {folder}: {one_line(error)}") from error
    return Path(builder.data_dir)


def _prepared(requested: DatasetName, folder: Path) -> Path | None:
    """The folder of the requested version, or of the newest; None if there is none."""
    parent = folder / requested.dataset / (requested.config or "")
    versions_found = {path.parent.name: path.parent for path in parent.glob("*/dataset_info.json")}
    versions = [version for version in versions_found if re.fullmatch(r"\d+\.\d+\.\d+", version)]
    if requested.version:
        versions = [version for version in versions if version == requested.version]
    newest = max(versions, key=lambda version: tuple(map(int, version.split("."))), default=None)
    return versions_found[newest] if newest else None


def _builder(path: Path) -> Any:
    """The TFDS builder of a prepared dataset, from its files."""
    import tensorflow_datasets as tfds

    try:
        return tfds.builder_from_directory(os.fspath(path))
    except Exception as error:  # JSON, protobuf and missing files raise different types
        raise TransformerError(
            f"{path} is damaged ({one_line(error)}): remove that folder and run {PREPARE}"
        ) from error


def _only(features: Any, prefix: str, language: str) -> str:
    (text,) = features[prefix + language].bytes_list.value
    return _as_line(text)


def _first_of_language(features: Any, prefix: str, language: str) -> str:
    """The first translation into a language; "" if there is none."""
    languages, texts = (features[prefix + key].bytes_list.value for key in ("language", "translation"))
    for code, text in zip(languages, texts, strict=True):
        if code.decode() == language:
            return _as_line(text)
    return ""


def _as_line(text: bytes) -> str:
    return text.decode().replace("\n", " ").strip()


def _tensorflow_is_missing(requested: DatasetName) -> str:
    return (
        f"{requested} comes in archives that TFDS extracts with TensorFlow, which is not installed: "
        "pip install 'attention-transformer[tfds]' (to prepare; nothing else needs it)"
    )
