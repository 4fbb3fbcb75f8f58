"""Translation datasets of TFDS (TensorFlow Datasets), by their names there, read without TensorFlow.

A dataset is prepared once (`download`) into `FOLDER/DATASET/CONFIG/VERSION/`, in files that can be read at any place
(array_record), and is then read from that folder alone (`open_split`): without the network, and whoever prepared it.
The order is that of the prepared files; TFDS shuffles when it prepares, always the same way.
"""

import contextlib
import difflib
import logging
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from transformer.errors import TransformerError, UsageError

log = logging.getLogger(__name__)

# tensorflow_datasets is imported where it is used: it takes most of a second, and most runs are on other data.

DATASETS = (
    "flores", "opus", "para_crawl", "ted_hrlr_translate", "ted_multi_translate", "wmt13_translate", "wmt14_translate",
    "wmt15_translate", "wmt16_translate", "wmt17_translate", "wmt18_translate", "wmt19_translate", "wmt_t2t_translate",
)  # fmt: skip
"""Datasets of TFDS that say which of their texts is in which language. Any other that does is read once prepared."""

CHUNK = 4_096
"""Pairs read at once when all are asked for; bounds the memory."""
PREPARE = "`transformer data prepare RECIPE`"
FORMAT = "array_record"


class Pairs:
    """The pairs of a split, in the order of its files; none is left out.

    They stay on disk: memory does not grow with the split. It can be pickled and read in several processes at once, but
    these must be spawned: a fork of a process that has read may hang, as the reader's threads do not live on in it.
    A side is stripped and its newlines become spaces, so that it is a line; it is "" where the dataset has no
    translation into that language. Made by `open_split`.
    """

    def __init__(self, folder: Path, split: str, languages: tuple[str, str], layout: "Layout"):
        self.folder, self.split, self.languages, self.layout = folder, split, languages, layout
        from tensorflow_datasets.core.decode import DeserializeMethod

        # Serialized: the decoding of TFDS is less than half as fast as that of `read`, and does the same to text.
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
        """The pairs start, ..., stop - 1. Raises IndexError outside 0 <= start <= stop <= len, TransformerError for
        damaged files."""
        from tensorflow_datasets.proto import tf_example_pb2

        if not 0 <= start <= stop <= len(self):
            raise IndexError(f"pairs {start} to {stop} of {len(self)}")
        if start == stop:
            return []
        parse, side = tf_example_pb2.Example.FromString, _one_of_many if self.layout.variable else _one
        prefix, (source, target) = self.layout.prefix, self.languages
        try:
            features = (parse(record).features.feature for record in self._records.__getitems__(range(start, stop)))
            pairs = [(side(every, prefix, source), side(every, prefix, target)) for every in features]
        except Exception as error:  # protobuf, array_record and UTF-8 each have their own
            raise TransformerError(
                f"{self.folder}: {self.split} is damaged between pair {start} and {stop} ({_line(error)}): remove that "
                f"folder and run {PREPARE}"
            ) from error
        return pairs


class Layout(NamedTuple):
    """Where an example has its translations."""

    prefix: str
    """The feature's name and a slash; empty where it is the whole example."""
    variable: bool
    """Two lists, languages and translations, as not every example has every language."""


class Name(NamedTuple):
    """What `dataset/config:version` says; None where it says nothing."""

    dataset: str
    config: str | None
    version: str | None

    def __str__(self) -> str:
        config, version = self.config and f"/{self.config}", self.version and f":{self.version}"
        return f"tfds:{self.dataset}{config or ''}{version or ''}"


def default_folder() -> Path:
    """Where TFDS keeps datasets: TFDS_DATA_DIR, or ~/tensorflow_datasets."""
    return Path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()


def open_split(
    name: str, split: str, languages: tuple[str, str], folder: Path | None = None, *, flag: str = "--data.train"
) -> Pairs:
    """A split of a prepared dataset, as pairs in the direction that `languages` says.

    Args:
        name: dataset, config and perhaps version, such as `wmt14_translate/de-en` or `wmt14_translate/de-en:1.0.0`;
            without a version, the newest that is prepared.
        split: a name, a slice or a sum of them, as TFDS has it: `train`, `train[:1000]`, `train[10%:]+validation`.
        languages: source and target, as the dataset names them; the order is free.
        folder: of all datasets; None is `default_folder()`.
        flag: the setting that said which split.

    Raises:
        UsageError: no such dataset, config, version, split or language; the nearest is named.
        TransformerError: not prepared here, or not so that it can be read.
    """
    folder = default_folder() if folder is None else Path(folder).expanduser()
    wanted = _parse(name)
    place = _prepared(wanted, folder)
    if place is None:
        _check_known(wanted, folder, languages)
        raise TransformerError(f"{wanted} is not prepared in {folder}: run {PREPARE}, where there is a network")
    info = _builder(place).info
    _check_format(info, place)
    layout = _check_languages(info, wanted, languages)
    _check_split(info, wanted, split, flag)
    return Pairs(place, split, languages, layout)


def download(name: str, folder: Path | None = None) -> Path:
    """Download and prepare a dataset, if it is not prepared yet, and return its folder. Needs the network, disk space,
    TensorFlow (to extract archives) and for WMT's largest sets hours.

    Raises UsageError as `open_split`, TransformerError with the cause in a line.
    """
    folder = default_folder() if folder is None else Path(folder).expanduser()
    wanted = _parse(name)
    place = _prepared(wanted, folder)
    if place is not None:
        _check_format(_builder(place).info, place)
        log.info("%s is prepared in %s", wanted, place)
        return place
    builder_class = _check_known(wanted, folder)
    if find_spec("tensorflow") is None:
        raise TransformerError(_tensorflow_is_missing(wanted))
    try:
        with contextlib.redirect_stdout(sys.stderr):  # TFDS prints, and standard output is for results
            builder = builder_class(
                config=wanted.config, version=wanted.version, data_dir=os.fspath(folder), file_format=FORMAT
            )
            builder.download_and_prepare(file_format=FORMAT)
    except ImportError as error:
        if (error.name or "").startswith("tensorflow"):
            raise TransformerError(_tensorflow_is_missing(wanted)) from error
        raise TransformerError(f"{wanted} needs a package that is missing: pip install {error.name}") from error
    except Exception as error:  # of requests, of TFDS, of the disk, of the dataset's own code
        raise TransformerError(f"{wanted} could not be prepared in {folder}: {_line(error)}") from error
    return Path(builder.data_dir)


def _parse(name: str) -> Name:
    found = re.fullmatch(r"(\w+)(?:/([\w.-]+))?(?::(\d+\.\d+\.\d+))?", name)
    if found is None:
        raise UsageError(f"--data.source=tfds:{name}: write tfds:DATASET/CONFIG, such as tfds:wmt14_translate/de-en")
    return Name(*found.groups())


def _prepared(wanted: Name, folder: Path) -> Path | None:
    """The folder of the version that is asked for, or of the newest; None where there is none."""
    place = folder / wanted.dataset / (wanted.config or "")
    found = {path.parent.name: path.parent for path in place.glob("*/dataset_info.json")}
    versions = [version for version in found if re.fullmatch(r"\d+\.\d+\.\d+", version)]
    if wanted.version:
        versions = [version for version in versions if version == wanted.version]
    newest = max(versions, key=lambda version: tuple(map(int, version.split("."))), default=None)
    return found[newest] if newest else None


def _builder(place: Path) -> Any:
    """What TFDS knows of a prepared dataset, from its files."""
    import tensorflow_datasets as tfds

    try:
        return tfds.builder_from_directory(os.fspath(place))
    except Exception as error:  # JSON, protobuf, missing files: each with an error of its own
        raise TransformerError(f"{place} is damaged ({_line(error)}): remove that folder and run {PREPARE}") from error


def _check_known(wanted: Name, folder: Path, languages: Sequence[str] = ()) -> Any:
    """The class that prepares a dataset, where there is such a dataset, config and version. Raises UsageError."""
    if wanted.dataset not in DATASETS:
        mine = [path.name for path in folder.glob("*") if any(path.glob("**/dataset_info.json"))]
        near = _nearest(wanted.dataset, {*DATASETS, *mine})
        raise UsageError(
            f"--data.source={wanted}: no translation dataset of TFDS, nor prepared in {folder} (did you mean "
            f"tfds:{near}?); use one of {', '.join(DATASETS)}"
        )
    import tensorflow_datasets as tfds
    import tensorflow_datasets.translate  # some are not known by name before

    found = tfds.builder_cls(wanted.dataset)
    configs = {config.name: config for config in found.builder_configs.values()}
    if wanted.config not in (configs or {None: None}):
        if not configs:
            raise UsageError(f"--data.source={wanted}: it has no configs; use tfds:{wanted.dataset}")
        near = _nearest(wanted.config or "-".join(languages), configs)
        raise UsageError(
            f"--data.source={wanted}: {'no such config' if wanted.config else 'a config must be named'} (did you mean "
            f"tfds:{wanted.dataset}/{near}?); it has {', '.join(configs)}"
        )
    config = configs.get(wanted.config)
    versions = [str((config and config.version) or found.VERSION)]
    versions += map(str, (config and config.supported_versions) or found.SUPPORTED_VERSIONS)
    if wanted.version and wanted.version not in versions:
        raise UsageError(f"--data.source={wanted}: no such version; use {' or '.join(versions)}")
    return found


def _check_format(info: Any, place: Path) -> None:
    formats = sorted(one.value for one in info.available_file_formats())
    if FORMAT not in formats:
        raise TransformerError(
            f"{place} is prepared as {' and '.join(formats)}, which needs TensorFlow to be read: move that folder away "
            f"and run {PREPARE} (downloads are kept), or name another folder"
        )


def _check_languages(info: Any, wanted: Name, languages: tuple[str, str]) -> Layout:
    import tensorflow_datasets as tfds

    features = info.features
    kinds = tfds.features.Translation, tfds.features.TranslationVariableLanguages
    places = [("", features)] if isinstance(features, kinds) else [(f"{key}/", features[key]) for key in features]
    prefix, feature = next((place for place in places if isinstance(place[1], kinds)), ("", None))
    if feature is None:
        raise UsageError(
            f"--data.source={wanted}: it does not say which of its texts is in which language (it has "
            f"{', '.join(features)}); use one of {', '.join(DATASETS)}"
        )
    known = feature.languages
    if languages[0] == languages[1]:
        raise UsageError(f"--data.languages: source and target are both {languages[0]!r}")
    for language in languages:
        if known is not None and language not in known:
            raise UsageError(
                f"--data.languages={' '.join(languages)}: {wanted} has no {language!r} (did you mean "
                f"{_nearest(language, known)!r}?); it has {', '.join(known)}"
            )
    return Layout(prefix, isinstance(feature, kinds[1]))


def _check_split(info: Any, wanted: Name, split: str, flag: str) -> None:
    """Refuse a split that is not there, is empty, or has lost files."""
    names = list(info.splits)
    for part in split.split("+"):
        name = part.partition("[")[0].strip()
        if name not in [*names, "all"]:
            raise UsageError(
                f"{flag}={split}: {wanted} has no split {name!r} (did you mean {_nearest(name, names)!r}?); it has "
                f"{', '.join(names)}, and slices such as {names[0]}[:1000]"
            )
    try:
        files = info.splits[split].file_instructions
    except Exception as error:  # of TFDS's parser
        raise UsageError(f"{flag}={split}: not a split of {wanted} ({_line(error)})") from error
    if not files:
        raise UsageError(f"{flag}={split}: it has no pairs")
    for file in files:
        if not Path(file.filename).is_file():
            raise TransformerError(
                f"no such file: {file.filename}: remove the folder that it belongs to and run {PREPARE}"
            )


def _one(features: Any, prefix: str, language: str) -> str:
    (text,) = features[prefix + language].bytes_list.value
    return _as_line(text)


def _one_of_many(features: Any, prefix: str, language: str) -> str:
    """The translation into a language, the first where there are several; "" where there is none."""
    languages, texts = (features[prefix + key].bytes_list.value for key in ("language", "translation"))
    for code, text in zip(languages, texts, strict=True):
        if code.decode() == language:
            return _as_line(text)
    return ""


def _as_line(text: bytes) -> str:
    return text.decode().replace("\n", " ").strip()


def _tensorflow_is_missing(wanted: Name) -> str:
    return (
        f"{wanted} comes in archives that TFDS extracts with TensorFlow, which is not installed: "
        "pip install 'attention-transformer[tfds]' (to prepare; nothing else needs it)"
    )


def _nearest(name: str, names: Iterable[str]) -> str:
    """The name most like another; de-en is like en-de."""

    def likeness(other: str) -> list[float]:
        pairs = (sorted(name), sorted(other)), (name, other)
        return [difflib.SequenceMatcher(None, *pair).ratio() for pair in pairs]

    return max(sorted(names), key=likeness)


def _line(error: BaseException) -> str:
    """An error of another library in one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__
