"""Names of TFDS datasets, and checks of what the user asks of them: each refusal names the nearest valid choice."""

import difflib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from transformer.errors import TransformerError, UsageError

# tensorflow_datasets is imported where it is used: importing it takes most of a second, and most runs do not need it.

DATASETS = (
    "flores", "opus", "para_crawl", "ted_hrlr_translate", "ted_multi_translate", "wmt13_translate", "wmt14_translate",
    "wmt15_translate", "wmt16_translate", "wmt17_translate", "wmt18_translate", "wmt19_translate", "wmt_t2t_translate",
)  # fmt: skip
"""TFDS datasets that name the languages of their texts. Any other that does can be read once it is prepared."""

PREPARE = "`transformer data prepare RECIPE`"
FORMAT = "array_record"


class DatasetName(NamedTuple):
    """The parts of `dataset/config:version`; None for those that are left out."""

    dataset: str
    config: str | None
    version: str | None

    def __str__(self) -> str:
        config, version = self.config and f"/{self.config}", self.version and f":{self.version}"
        return f"tfds:{self.dataset}{config or ''}{version or ''}"


class Layout(NamedTuple):
    """Where an example has its translations."""

    prefix: str
    """The feature's name and a slash; empty if the translations are the whole example."""
    variable: bool
    """Whether they are two lists, languages and translations, because not every example has every language."""


def parse_name(name: str) -> DatasetName:
    """Parse `dataset/config:version`. Raises UsageError."""
    found = re.fullmatch(r"(\w+)(?:/([\w.-]+))?(?::(\d+\.\d+\.\d+))?", name)
    if found is None:
        raise UsageError(f"--data.source=tfds:{name}: write tfds:DATASET/CONFIG, such as tfds:wmt14_translate/de-en")
    return DatasetName(*found.groups())


def check_known(requested: DatasetName, folder: Path, languages: Sequence[str] = ()) -> Any:
    """The builder class of a dataset. Raises UsageError if the dataset, its config or its version does not exist."""
    if requested.dataset not in DATASETS:
        prepared = [path.name for path in folder.glob("*") if any(path.glob("**/dataset_info.json"))]
        near = nearest(requested.dataset, {*DATASETS, *prepared})
        raise UsageError(
            f"--data.source={requested}: no translation dataset of TFDS, nor prepared in {folder} (did you mean "
            f"tfds:{near}?); use one of {', '.join(DATASETS)}"
        )
    import tensorflow_datasets as tfds
    import tensorflow_datasets.translate  # registers the names of some datasets

    builder_class = tfds.builder_cls(requested.dataset)
    configs = {config.name: config for config in builder_class.builder_configs.values()}
    if requested.config not in (configs or {None: None}):
        if not configs:
            raise UsageError(f"--data.source={requested}: it has no configs; use tfds:{requested.dataset}")
        near = nearest(requested.config or "-".join(languages), configs)
        raise UsageError(
            f"--data.source={requested}: {'no such config' if requested.config else 'a config must be named'} "
            f"(did you mean tfds:{requested.dataset}/{near}?); it has {', '.join(configs)}"
        )
    config = configs.get(requested.config)
    versions = [str((config and config.version) or builder_class.VERSION)]
    versions += map(str, (config and config.supported_versions) or builder_class.SUPPORTED_VERSIONS)
    if requested.version and requested.version not in versions:
        raise UsageError(f"--data.source={requested}: no such version; use {' or '.join(versions)}")
    return builder_class


def check_format(info: Any, path: Path) -> None:
    """Refuse a prepared dataset whose files need TensorFlow. Raises TransformerError."""
    formats = sorted(file_format.value for file_format in info.available_file_formats())
    if FORMAT not in formats:
        raise TransformerError(
            f"{path} is prepared as {' and '.join(formats)}, which needs TensorFlow to be read: move that folder away "
            f"and run {PREPARE} (downloads are kept), or name another folder"
        )


def check_languages(info: Any, requested: DatasetName, languages: tuple[str, str]) -> Layout:
    """Where a dataset holds translations of these languages. Raises UsageError if it does not."""
    import tensorflow_datasets as tfds

    features = info.features
    kinds = tfds.features.Translation, tfds.features.TranslationVariableLanguages
    parts = [("", features)] if isinstance(features, kinds) else [(f"{key}/", features[key]) for key in features]
    prefix, feature = next((part for part in parts if isinstance(part[1], kinds)), ("", None))
    if feature is None:
        raise UsageError(
            f"--data.source={requested}: it does not say which of its texts is in which language (it has "
            f"{', '.join(features)}); use one of {', '.join(DATASETS)}"
        )
    known = feature.languages
    if languages[0] == languages[1]:
        raise UsageError(f"--data.languages: source and target are both {languages[0]!r}")
    for language in languages:
        if known is not None and language not in known:
            raise UsageError(
                f"--data.languages={' '.join(languages)}: {requested} has no {language!r} (did you mean "
                f"{nearest(language, known)!r}?); it has {', '.join(known)}"
            )
    return Layout(prefix, isinstance(feature, kinds[1]))


def check_split(info: Any, requested: DatasetName, split: str, flag: str) -> None:
    """Refuse a split that does not exist, is empty, or lacks files. Raises UsageError or TransformerError."""
    names = list(info.splits)
    for part in split.split("+"):
        name = part.partition("[")[0].strip()
        if name not in [*names, "all"]:
            raise UsageError(
                f"{flag}={split}: {requested} has no split {name!r} (did you mean {nearest(name, names)!r}?); it has "
                f"{', '.join(names)}, and slices such as {names[0]}[:1000]"
            )
    try:
        files = info.splits[split].file_instructions
    except Exception as error:  # raised by TFDS's parser
        raise UsageError(f"{flag}={split}: not a split of {requested} ({one_line(error)})") from error
    if not files:
        raise UsageError(f"{flag}={split}: it has no pairs")
    for file in files:
        if not Path(file.filename).is_file():
            raise TransformerError(
                f"no such file: {file.filename}: remove the folder that it belongs to and run {PREPARE}"
            )


def nearest(name: str, names: Iterable[str]) -> str:
    """The most similar name; the order of letters counts for half, so that de-en is similar to en-de."""

    def similarity(other: str) -> list[float]:
        pairs = (sorted(name), sorted(other)), (name, other)
        return [difflib.SequenceMatcher(None, *pair).ratio() for pair in pairs]

    return max(sorted(names), key=similarity)


def one_line(error: BaseException) -> str:
    """An error of another library, on one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__
