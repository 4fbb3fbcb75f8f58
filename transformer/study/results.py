"""What came of each trial: result.json in its run directory, and all of them in the study's results.json.

A trial writes its own file. Collecting is a function of those files and of what results.json has: whoever collects, and
how often, the outcome is the same, and what is in results.json stays there when run directories go.
"""

import base64
import json
import logging
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from transformer import config
from transformer.data.corpora.corpus import Corpus
from transformer.errors import TransformerError, UsageError
from transformer.storage import checksums
from transformer.storage.files import write_json
from transformer.storage.locks import file_lock
from transformer.study.cells import Trial, digest

log = logging.getLogger(__name__)

FILE = "result.json"
KEYS = ("cell", "seed", "config", "parameters", "updates", "minutes", "validation", "test")
"""What a result has. `digest`, `tokens_per_s`, `unseen`, and in a set `corpus`, `counts` and `alignment` came later."""


def lock(folder: Path) -> Path:
    """Held by the process that writes what belongs to all of a study. A file: of a folder, storage that several
    machines share knows no lock but each machine's own."""
    return folder / "results.lock"


class Results:
    """A study's results.json, and what lies in its run directories."""

    def __init__(self, path: Path):
        """Raises TransformerError when the file is there and is damaged."""
        self.path = path
        self._found = _read(path)

    def of(self, trial: Trial) -> dict[str, Any] | None:
        """What came of a trial, if it was run with these very settings."""
        return next((entry for entry in self._named(trial) if _is_of(entry, trial)), None)

    def outdated(self, trials: Iterable[Trial]) -> list[str]:
        """Names of trials of which it has results of other settings, or scored otherwise, and no others."""
        return [one.name for one in trials if self._named(one) and self.of(one) is None]

    def _named(self, trial: Trial) -> list[dict[str, Any]]:
        return [entry for name, entry in self._found.items() if name.split("@")[0] == trial.name]

    def collect(self, runs: Path) -> None:
        """Take over what lies in run directories, and write results.json whole if that changed it.

        Raises TransformerError when a file is damaged (of run directories, when all others are taken over), OSError
        when one cannot be written.
        """
        found, damaged = [], list[TransformerError]()
        for path in sorted(runs.glob(f"*/{FILE}")):
            try:
                found.append(_read_one(path))
            except TransformerError as error:
                damaged.append(error)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with file_lock(lock(self.path.parent), wait=True):
            there = _read(self.path)
            self._found = merged(there, found)
            if self._found != there:
                write_json(self.path, self._found)
        if damaged:
            raise damaged[0]

    def borrow(self, missing: list[Trial], others: Iterable[Path]) -> list[Trial]:
        """Take over what other studies' results.json have of the very same settings, scored the same way, and what this
        one has of them by another name; and write it.

        Args:
            missing: trials without a result.
            others: paths of results.json, which need not be there.

        Returns the trials that are still missing. Raises TransformerError when a file is damaged.
        """
        if not missing:
            return []
        found = {
            (_digest(entry), tokenizer(entry)): {"from": f"{path.parent.name}/{name}", **entry}
            for path in (*others, self.path)
            for name, entry in _read(path).items()
        }
        keys = {one: (one.digest, one.tokenize) for one in missing}
        taken = [{**found[key], "cell": one.cell} for one, key in keys.items() if key in found]
        if taken:
            with file_lock(lock(self.path.parent), wait=True):
                self._found = merged(_read(self.path), taken)
                write_json(self.path, self._found)
        for entry in taken:
            log.info("%s-%s: taken from %s", entry["cell"], entry["seed"], entry["from"])
        return [one for one, key in keys.items() if key not in found]


def write(folder: Path, trial: Trial, values: Mapping[str, Any]) -> None:
    """Keep what came of a trial in its run directory, whole or not at all."""
    about = {"cell": trial.cell, "seed": trial.seed, "digest": trial.digest, "config": config.to_json(trial.settings)}
    write_json(folder / FILE, {**about, **values})


def there(folder: Path, trial: Trial) -> bool:
    """Whether a run directory has the result of a trial, with these very settings."""
    path = folder / FILE
    return path.is_file() and _is_of(_read_one(path), trial)


def merged(kept: Mapping[str, Any], found: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Results by trial: what was kept, and what run directories have besides. What was kept of the same trial under
    other settings, or scored otherwise, stays too, as NAME@DIGEST-TOKENIZER."""
    every = dict(kept)
    for entry in found:
        name, its = f"{entry['cell']}-{entry['seed']}", _identity(entry)
        before = every.get(name)
        if before is not None and _identity(before) == its:
            continue
        if before is not None:
            every[f"{name}@{_identity(before)}"] = before
        every[name] = every.pop(f"{name}@{its}", None) or dict(entry)
    return every


def _is_of(entry: Mapping[str, Any], trial: Trial) -> bool:
    return _digest(entry) == trial.digest and tokenizer(entry) == trial.tokenize


def _identity(entry: Mapping[str, Any]) -> str:
    return f"{_digest(entry)}-{tokenizer(entry)}"


def least_words(words: str) -> int:
    """Of a bin of source lengths by its name, such as "6-10" or "51+". Raises ValueError."""
    return int(words.rstrip("+").split("-")[0])


def tokenizer(entry: Mapping[str, Any]) -> str:
    """SacreBLEU's, that the translations were scored with."""
    signature = entry["test"]["scores"]["BLEU"]["signature"]
    return str(dict(part.split(":", 1) for part in signature.split("|") if ":" in part).get("tok", ""))


def _read(path: Path) -> dict[str, Any]:
    advice = "bring it back from version control, or move it away: what run directories have is collected anew"
    found = _json(path, advice) if path.exists() else {}
    if not isinstance(found, dict):
        raise TransformerError(f"{path} is no results of a study: it holds no object of names ({advice})")
    for name, entry in found.items():
        _check(entry, path, name, advice)
    return found


def _read_one(path: Path) -> dict[str, Any]:
    advice = "move it away, and its run, which is kept, is evaluated anew"
    found: dict[str, Any] = _json(path, advice)
    _check(found, path, "the result", advice)
    return found


def _json(path: Path, advice: str) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TransformerError(f"{path} cannot be read: {error} ({advice})") from None


def _check(entry: Any, path: Path, name: str, advice: str) -> None:
    """Whether all is there that tables and figures read. Raises TransformerError."""
    missing = [key for key in KEYS if not isinstance(entry, dict) or key not in entry]
    if missing:
        raise TransformerError(f"{path} is damaged: {name} has no {', '.join(missing)} ({advice})")
    try:
        tokenizer(entry), entry["config"].keys()
        numbers = {key: entry[key] for key in ("seed", "parameters", "updates", "minutes")}
        numbers["tokens_per_s"] = entry.get("tokens_per_s") or 0
        for part in ("test", "unseen"):
            if part in entry:
                numbers |= {f"{part}.{key}": value for key, value in _numbers(entry[part]).items()}
        for key, value in numbers.items():
            if not isinstance(value, int | float):
                raise TypeError(f"{key} is {value!r}")
    except (LookupError, TypeError, AttributeError, ValueError, TransformerError) as error:
        told = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise TransformerError(
            f"{path} is damaged: the settings or scores of {name} are no such: {told} ({advice})"
        ) from None


def _numbers(part: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a test set that are shown. Raises KeyError, TypeError and the like where they are not there."""
    found = {"perplexity": part["perplexity"]}
    found |= {f"scores.{metric}": part["scores"][metric]["value"] for metric in ("BLEU", "chrF2")}
    found |= {f"by_length.{least_words(row['words'])}": row["bleu"] for row in part["by_length"]}
    if "counts" in part:
        rows = len(unpack(part["counts"], 10))
        if rows != part.get("sentences", rows):
            raise ValueError(f"counts of {rows} sentences, of {part['sentences']}")
    if "alignment" in part:
        aligned = part["alignment"]
        found["aer"] = aligned["aer"]
        if "counts" in aligned:
            unpack(aligned["counts"], 4)
        if aligned.get("heads"):
            found |= {"mean": aligned["mean"], "heads.0": aligned["heads"][0][0], "layers.0": aligned["layers"][0]}
    return found


def _digest(entry: Mapping[str, Any]) -> str:
    """Of a result's settings, as they are understood today; what an older version kept has no other."""
    try:
        return digest(config.from_json(entry["config"]))
    except (UsageError, TypeError, AttributeError):  # of another version, with settings that this one does not know
        return str(entry.get("digest", "unknown"))


def corpus_digest(part: Corpus, tokenize: str) -> str:
    """12 hexadecimal digits that stand for a test set, and for how it is scored."""
    return checksums.short_digest([list(part.sources), list(part.targets), tokenize])


def pack(counts: Int[np.ndarray, "N K"]) -> str:
    """Counts of sentences as a short string: deflated 16-bit integers in base64, a row a sentence.

    Raises ValueError for what does not fit.
    """
    if counts.size and not 0 <= counts.min() <= counts.max() < 2**16:
        raise ValueError(f"counts from {counts.min()} to {counts.max()} do not fit into 16 bits")
    # By columns, whose neighbours are alike.
    return base64.b64encode(zlib.compress(counts.T.astype("<u2").tobytes(), 9)).decode("ascii")


def unpack(text: str, columns: int) -> Int[np.ndarray, "N K"]:
    """The inverse of `pack`. Raises TransformerError for what is none."""
    try:
        return np.frombuffer(zlib.decompress(base64.b64decode(text, validate=True)), "<u2").reshape(columns, -1).T
    except (TypeError, ValueError, zlib.error) as error:
        raise TransformerError(f"counts of sentences are damaged: {error}") from None
