"""Results of trials: result.json in each run directory, and all of them in the study's results.json.

A trial writes its own file. Collecting depends only on those files and on results.json: the outcome does not depend on
which process collects, or how often. An entry of results.json stays when its run directory is deleted.
"""

import base64
import logging
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from transformer import config
from transformer.errors import TransformerError, UsageError
from transformer.storage import checksums
from transformer.storage.files import DamagedFileError, read_object, write_json
from transformer.storage.locks import file_lock
from transformer.study.variants import Trial, digest, identity
from transformer.tasks.task import Split

log = logging.getLogger(__name__)

FILE = "result.json"
KEYS = ("variant", "seed", "config", "scoring", "parameters", "updates", "minutes", "validation", "test")
"""The keys of every result. Older ones lack `digest` and the speed, and in a set `corpus` and `counts`."""

SPEED = "_per_s"
"""After the unit of the task, names the speed of training: `tokens_per_s`, a median."""


def lock(folder: Path) -> Path:
    """Held by the process that writes what all runners of a study share. It is a file, because other machines that
    share the storage do not see locks of folders."""
    return folder / "results.lock"


class Results:
    """A study's results.json."""

    def __init__(self, path: Path):
        """Raises TransformerError if the file is damaged; it need not exist."""
        self.path = path
        self._entries = _read(path)

    def get(self, trial: Trial) -> dict[str, Any] | None:
        """The result of a trial, if it was run with these settings and scored in this way."""
        return next((entry for entry in self._named(trial) if _matches(entry, trial)), None)

    def outdated(self, trials: Iterable[Trial]) -> list[str]:
        """Names of trials whose results all have different settings, or were scored differently."""
        return [trial.name for trial in trials if self._named(trial) and self.get(trial) is None]

    def _named(self, trial: Trial) -> list[dict[str, Any]]:
        return [entry for name, entry in self._entries.items() if name.split("@")[0] == trial.name]

    def collect(self, runs: Path) -> None:
        """Add the results of a folder of run directories; results.json is written whole, and only if it changes.

        Raises TransformerError if a file is damaged (if it is in a run directory, after all others are added), OSError
        if results.json cannot be written.
        """
        found, errors = [], list[TransformerError]()
        for path in sorted(runs.glob(f"*/{FILE}")):
            try:
                found.append(_read_result(path))
            except TransformerError as error:
                errors.append(error)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with file_lock(lock(self.path.parent), wait=True):
            before = _read(self.path)
            self._entries = merged(before, found)
            if self._entries != before:
                write_json(self.path, self._entries)
        if errors:
            raise errors[0]

    def reuse(self, missing: list[Trial], others: Iterable[Path]) -> list[Trial]:
        """Copy results with equal settings and scoring from other studies, and from this one's trials of other names.

        Args:
            missing: trials without a result.
            others: paths of results.json, which need not exist.

        Returns the trials that are still missing. Raises TransformerError if a file is damaged.
        """
        if not missing:
            return []
        found = {
            _identity(entry): {"from": f"{path.parent.name}/{name}", **entry}
            for path in (*others, self.path)
            for name, entry in _read(path).items()
        }
        keys = {trial: trial.identity for trial in missing}
        copies = [{**found[key], "variant": trial.variant} for trial, key in keys.items() if key in found]
        if copies:
            with file_lock(lock(self.path.parent), wait=True):
                self._entries = merged(_read(self.path), copies)
                write_json(self.path, self._entries)
        for entry in copies:
            log.info("%s-%s: copied from %s", entry["variant"], entry["seed"], entry["from"])
        return [trial for trial, key in keys.items() if key not in found]


def write(folder: Path, trial: Trial, values: Mapping[str, Any]) -> None:
    """Write the result of a trial to its run directory, whole or not at all."""
    about = {"variant": trial.variant, "seed": trial.seed, "digest": trial.digest, "scoring": dict(trial.scoring)}
    write_json(folder / FILE, {**about, "config": config.to_json(trial.settings), **values})


def exists(folder: Path, trial: Trial) -> bool:
    """Whether a run directory has the result of a trial, with these settings and scored in this way."""
    path = folder / FILE
    return path.is_file() and _matches(_read_result(path), trial)


def merged(before: Mapping[str, Any], found: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Entries of results.json by the trial's name, with those of run directories added.

    An entry of the same trial with other settings or scoring stays, as NAME@DIGEST-SCORING.
    """
    entries = dict(before)
    for entry in found:
        name, identity = f"{entry['variant']}-{entry['seed']}", _identity(entry)
        old = entries.get(name)
        if old is not None and _identity(old) == identity:
            continue
        if old is not None:
            entries[f"{name}@{_identity(old)}"] = old
        entries[name] = entries.pop(f"{name}@{identity}", None) or dict(entry)
    return entries


def _matches(entry: Mapping[str, Any], trial: Trial) -> bool:
    return _identity(entry) == trial.identity


def _identity(entry: Mapping[str, Any]) -> str:
    """Digest of the settings and the scoring."""
    return identity(_digest(entry), entry["scoring"])


def min_words(words: str) -> int:
    """Lower edge of a bin of source lengths by its name, such as "6-10" or "51+". Raises ValueError."""
    return int(words.rstrip("+").split("-")[0])


def sets(entry: Mapping[str, Any]) -> list[str]:
    """Names of the test sets of a result, `test` first."""
    return [name for name in entry.get("sets", ("test", "unseen")) if name in entry]


def _read(path: Path) -> dict[str, Any]:
    advice = "restore it from version control, or move it away: results of run directories are collected again"
    entries = _object(path, advice) if path.exists() else {}
    return {name: _checked(entry, path, name, advice) for name, entry in entries.items()}


def _read_result(path: Path) -> dict[str, Any]:
    advice = "move it away: its run, which is kept, is then evaluated again"
    return _checked(_object(path, advice), path, "the result", advice)


def _object(path: Path, advice: str) -> dict[str, Any]:
    try:
        return read_object(path)
    except DamagedFileError as error:
        raise TransformerError(f"{error} ({advice})") from None
    except OSError as error:
        raise TransformerError(f"{path} cannot be read: {error.strerror} ({advice})") from None


def migrated(entry: Any) -> Any:
    """An entry of version 0.1, converted to this version. That version had only translation."""
    if not isinstance(entry, dict) or "cell" not in entry:
        return entry
    rest = {key: value for key, value in entry.items() if key != "cell"}
    parts = {name: _migrated_set(entry[name]) for name in ("test", "unseen") if name in entry}
    tokenize = ""
    if "test" in entry:
        signature = entry["test"]["scores"]["BLEU"]["signature"]
        tokenize = dict(part.split(":", 1) for part in signature.split("|") if ":" in part).get("tok", "")
    return {"variant": entry["cell"], "scoring": {"tokenize": tokenize}, **rest, **parts}


def _migrated_set(part: Mapping[str, Any]) -> dict[str, Any]:
    counts = {"BLEU": {"columns": 10, "packed": part["counts"]}} if "counts" in part else {}
    if "alignment" not in part:
        return {**part, "counts": counts}
    alignment = dict(part["alignment"])
    if "counts" in alignment:
        counts["AER"] = {"columns": 4, "packed": alignment.pop("counts")}
    aer = {"name": "AER", "value": alignment["aer"], "interval": alignment.get("interval")}
    return {**part, "scores": {**part["scores"], "AER": aer}, "alignment": alignment, "counts": counts}


def _checked(entry: Any, path: Path, name: str, advice: str) -> dict[str, Any]:
    """An entry that has everything that tables and figures read. Raises TransformerError."""
    try:
        entry = migrated(entry)
        missing = [key for key in KEYS if not isinstance(entry, dict) or key not in entry]
        for key, value in ({} if missing else _numbers(entry)).items():
            if not isinstance(value, int | float):
                raise TypeError(f"{key} is {value!r}")
    except (LookupError, TypeError, AttributeError, ValueError, TransformerError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise TransformerError(
            f"{path} is damaged: the settings or scores of {name} are not valid: {reason} ({advice})"
        ) from None
    if missing:
        raise TransformerError(f"{path} is damaged: {name} has no {', '.join(missing)} ({advice})")
    return dict(entry)


def _numbers(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers of a result that tables and figures show. Raises KeyError, TypeError and the like if any is missing."""
    entry["config"].keys(), entry["scoring"].keys()
    numbers = {key: entry[key] for key in ("seed", "parameters", "updates", "minutes")}
    numbers |= {key: value or 0 for key, value in entry.items() if key.endswith(SPEED)}
    for name in sets(entry):
        numbers |= {f"{name}.{key}": value for key, value in _numbers_of_set(entry[name]).items()}
    return numbers


def _numbers_of_set(part: Mapping[str, Any]) -> dict[str, Any]:
    numbers = {f"scores.{name}": score["value"] for name, score in part["scores"].items()}
    numbers |= {"perplexity": part.get("perplexity", 0)}
    numbers |= {f"by_length.{min_words(row['words'])}": row["bleu"] for row in part.get("by_length", ())}
    for counts in part.get("counts", {}).values():
        rows = len(unpack(counts["packed"], counts["columns"]))
        if rows != part.get("sentences", rows):
            raise ValueError(f"counts of {rows} sentences, of {part['sentences']}")
    aligned = part.get("alignment", {})
    if aligned.get("heads"):
        numbers |= {"mean": aligned["mean"], "heads.0": aligned["heads"][0][0], "layers.0": aligned["layers"][0]}
    return numbers


def counts_of(part: Mapping[str, Any], metric: str) -> Int[np.ndarray, "N K"] | None:
    """Counts of a measure on a test set; None if the result has none. Raises TransformerError if they are damaged."""
    found = part.get("counts", {}).get(metric)
    return None if found is None else unpack(found["packed"], found["columns"])


def packed(counts: Mapping[str, Int[np.ndarray, "N _"]]) -> dict[str, Any]:
    """Counts of measures in the form of a result; the inverse of `counts_of`."""
    return {name: {"columns": each.shape[1], "packed": pack(each)} for name, each in counts.items()}


def _digest(entry: Mapping[str, Any]) -> str:
    """Digest of a result's settings as this version understands them."""
    try:
        return digest(config.from_json(entry["config"]))
    except (UsageError, TypeError, AttributeError):  # of another version, or of a plugin that is not loaded
        return str(entry.get("digest", "unknown"))


def split_digest(split: Split, scoring: Mapping[str, Any]) -> str:
    """12 hexadecimal digits that identify a test set and how it is scored."""
    options = [value for _, value in sorted(scoring.items())]
    return checksums.short_digest([list(split.lines), list(split.references), *options])


def pack(counts: Int[np.ndarray, "N K"]) -> str:
    """Counts of sentences as a short string: 16-bit integers, column by column, deflated, in base64.

    Raises ValueError if they do not fit.
    """
    if counts.size and not 0 <= counts.min() <= counts.max() < 2**16:
        raise ValueError(f"counts from {counts.min()} to {counts.max()} do not fit into 16 bits")
    # By columns, whose neighbouring values are similar.
    return base64.b64encode(zlib.compress(counts.T.astype("<u2").tobytes(), 9)).decode("ascii")


def unpack(text: str, columns: int) -> Int[np.ndarray, "N K"]:
    """The inverse of `pack`. Raises TransformerError for other text."""
    try:
        return np.frombuffer(zlib.decompress(base64.b64decode(text, validate=True)), "<u2").reshape(columns, -1).T
    except (TypeError, ValueError, zlib.error) as error:
        raise TransformerError(f"counts of sentences are damaged: {error}") from None
