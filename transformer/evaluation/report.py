"""The report of a test set: predictions are made, scored and compared; the result is written, and shown as text.

It is the same for every task. The differences are arguments: how lines are predicted, the measures, the counts that
they are computed from, and further parts of a task's report. A report identifies its set by content: `digest` is that
of the lines and their references.
"""

import itertools
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from transformer.distributed import processes as cluster
from transformer.errors import TransformerError
from transformer.evaluation.draw import draw_confusion
from transformer.evaluation.measures import Counts, Measure, differences, scores
from transformer.evaluation.significance import RESAMPLES, p_text
from transformer.plurals import counted
from transformer.storage.checksums import short_digest
from transformer.storage.files import DamagedFileError, read_object, write_json, write_text

log = logging.getLogger(__name__)

TEST = "paired bootstrap resampling, two-sided"
"""See `significance.compare`."""
SUFFIXES = (".json", ".hypotheses", ".confusion.png")
"""The files of a report."""
MOST_LABELS = 12
"""A confusion matrix of more labels is not printed."""
SPEED_ONLY = ("batch", "workers", "attention")
"""Settings of a search that do not change its translations."""


class Baseline(NamedTuple):
    """Predictions of another system for the same lines."""

    path: str
    """Their file or run."""
    predictions: Sequence[str]
    about: Mapping[str, Any] = {}
    """How they were made, for the report: `checkpoint`, `search`, and their origin in `source`."""
    counts: Counts | None = None
    """Their counts, if known."""


class Evaluation(NamedTuple):
    """An evaluated test set."""

    predictions: Sequence[str]
    counts: Counts
    result: dict[str, Any]
    """The content that `write` writes and `show` shows."""


class Stored(NamedTuple):
    """A report that `write` wrote."""

    name: str
    """The name of its file."""
    predictions: list[str]


def evaluate(
    name: str,
    lines: Sequence[str],
    references: Sequence[str],
    *,
    predict: Callable[[Sequence[str]], Sequence[str]],
    statistics: Callable[[Sequence[str], Sequence[str]], Counts],
    measures: Mapping[str, Measure],
    details: Callable[[Sequence[str], Counts], Mapping[str, Any]] = lambda predictions, counts: {},
    about: Mapping[str, Any] | None = None,
    baseline: Baseline | None = None,
) -> Evaluation:
    """Predict and score a test set. Each measure has its 95% interval by bootstrap over lines; the difference from a
    baseline is tested by paired bootstrap.

    Args:
        name: of the set.
        lines: of input.
        references: the correct answers.
        predict: maps lines to answers.
        statistics: counts of predictions and references; see `tasks.task.Predictor.statistics`.
        measures: of the task.
        details: further parts of the result, from the predictions and their counts. They replace the common parts.
        about: further parts of the result, such as the checkpoint.
        baseline: another system.

    Raises TransformerError if the baseline has a different number of lines.
    """
    if baseline is not None and len(baseline.predictions) != len(lines):
        raise TransformerError(
            f"{baseline.path} has {counted(len(baseline.predictions), 'line')}, the {name} set {len(lines)}: only "
            "predictions of the same lines are compared (--source and --reference evaluate on another set)"
        )
    began = time.perf_counter()
    predictions = predict(lines)
    seconds = time.perf_counter() - began
    counts = statistics(predictions, references)
    own = details(predictions, counts)
    result = {
        "set": name,
        "digest": content(lines, references),
        "sentences": len(predictions),
        "predictions_digest": short_digest(list(predictions)),
        **(about or {}),
        **({} if "scores" in own else {"scores": scores(counts, measures)}),
        **own,
        "seconds": seconds,
    }
    if baseline is not None:
        theirs = statistics(baseline.predictions, references) if baseline.counts is None else baseline.counts
        result["against"] = {
            "baseline": baseline.path,
            **baseline.about,
            "test": TEST,
            "resamples": RESAMPLES,
            "sentences": len(lines),
            "measures": differences(counts, theirs, measures),
        }
    return Evaluation(predictions, counts, result)


def content(lines: Sequence[str], references: Sequence[str]) -> str:
    """12 hexadecimal digits that identify a set by its lines and references."""
    return short_digest([list(lines), list(references)])


def name_of_other(name: str, lines: Sequence[str], references: Sequence[str]) -> str:
    """The name of a set that is not the run's own: NAME-DIGEST, so that no two sets share one."""
    return f"{name}-{content(lines, references)[:8]}"


def write(folder: Path, evaluation: Evaluation, *, replace: bool = True) -> bool:
    """Write NAME.hypotheses, NAME.json and for labels NAME.confusion.png into a run's report folder.

    Only the main process writes.

    An earlier report of the same set is replaced. A report of a different set or ensemble, or of an unknown set (from
    version 0.1), is renamed, and the log says so.

    Args:
        folder: need not exist.
        evaluation: to be written.
        replace: if False, nothing is written if a report has the name.

    Returns whether it is written.
    """
    name = evaluation.result["set"]
    if not replace and _taken(folder, name):
        return False
    if cluster.is_main_process():
        folder.mkdir(parents=True, exist_ok=True)
        _set_aside(folder, evaluation.result)
        write_text(folder / f"{name}.hypotheses", "".join(line + "\n" for line in evaluation.predictions))
        write_json(folder / f"{name}.json", evaluation.result)
        if "confusion" in evaluation.result:
            title = f"{name}: {counted(evaluation.result['sentences'], 'text')}"
            draw_confusion(evaluation.result["confusion"], title, folder / f"{name}.confusion.png")
    return True


def find(folder: Path, lines: Sequence[str], references: Sequence[str], about: Mapping[str, Any]) -> Stored | None:
    """The report of a set with these settings; None if there is none.

    Reports without a digest (of version 0.1) are not used, nor are predictions that were changed after they were
    scored.

    Args:
        folder: of a run's reports.
        lines: of the set.
        references: of the set.
        about: parts that must be equal, such as the checkpoint and the search.
    """
    digest = content(lines, references)
    for path in sorted(folder.glob("*.json")):
        known = _read(path)
        if known.get("digest") != digest or any(_same(known.get(key)) != _same(about[key]) for key in about):
            continue
        predictions = _read_predictions(path.with_suffix(".hypotheses"))
        if short_digest(predictions) == known.get("predictions_digest"):
            return Stored(path.name, predictions)
        log.warning("%s is not used: its .hypotheses is missing or has changed", path)
    return None


def _same(value: Any) -> Any:
    """A part of a report in JSON form, without settings that do not change predictions."""
    plain = json.loads(json.dumps(value))
    return {k: v for k, v in plain.items() if k not in SPEED_ONLY} if isinstance(plain, dict) else plain


def _read(path: Path) -> dict[str, Any]:
    """A report; {} if there is none, or it is damaged."""
    try:
        return read_object(path)
    except FileNotFoundError:
        return {}
    except (DamagedFileError, OSError) as error:
        log.warning("a report is not used: %s", error)
        return {}


def _read_predictions(path: Path) -> list[str]:
    """The lines that `write` wrote, unchanged; [] if they cannot be read."""
    try:
        return path.read_bytes().decode("utf-8").split("\n")[:-1]
    except (OSError, ValueError):
        return []


def _taken(folder: Path, name: str) -> bool:
    return any((folder / f"{name}{suffix}").exists() for suffix in SUFFIXES)


def _set_aside(folder: Path, result: Mapping[str, Any]) -> None:
    """Rename the report that has the name of a new one, unless it is for the same set and models."""
    name = result["set"]
    known = _read(folder / f"{name}.json")
    same = all(known.get(key) == result.get(key) for key in ("digest", "ensemble"))
    if same or not _taken(folder, name):
        return
    other = str(known.get("digest", "unknown"))[:8]
    names = (f"{name}-{other}" + (f"-{number}" if number > 1 else "") for number in itertools.count(1))
    new = next(each for each in names if not _taken(folder, each))
    for suffix in SUFFIXES:
        if (folder / f"{name}{suffix}").exists():
            (folder / f"{name}{suffix}").rename(folder / f"{new}{suffix}")
    which = "belongs to a different set or ensemble" if "digest" in known else "does not say which sentences it covers"
    log.warning("the earlier report %s.json %s: it is now %s.json", folder / name, which, new)


def show(result: Mapping[str, Any]) -> str:
    """The result as lines for the terminal; parts that it does not have are left out."""
    name = result["set"] + (" (constructions that do not occur in training)" if result["set"] == "unseen" else "")
    lines = ["\n" + ", ".join([f"{name}: {counted(result['sentences'], 'sentence')}", *_made(result)])]
    for metric, score in result["scores"].items():
        interval = f"  no interval ({score['reason']})" if "reason" in score else ""
        if score["interval"]:
            low, high = score["interval"]
            interval = f"  95% [{low:.1f}, {high:.1f}]"
        lines.append(f"  {metric:5} {score['value']:6.2f}{interval}  {score.get('signature', '')}".rstrip())
    perplexity = (
        f"perplexity {result['perplexity']:.3f} (per token of this tokenizer), " if "perplexity" in result else ""
    )
    lines.append(f"  {perplexity}{result['seconds']:.1f} s")
    if "by_length" in result:
        lines.append("  BLEU by source length (words)")
        for row in result["by_length"]:
            bar = "█" * round(row["bleu"] / 4)
            lines.append(f"    {row['words']:>6} {row['bleu']:6.2f} {bar} ({counted(row['sentences'], 'sentence')})")
    if "confusion" in result:
        lines += _confusion(result["confusion"])
    if "against" in result:
        lines += _differences(result["against"])
    return "\n".join(lines)


def _confusion(confusion: Mapping[str, Any]) -> list[str]:
    """What the most frequent label alone would get, and a row for each actual label."""
    labels, most = confusion["labels"], confusion["most_frequent"]
    lines = [f"  always {most['label']!r}, the most frequent label: accuracy {most['accuracy']:.2f}"]
    if len(labels) > MOST_LABELS:
        return lines
    width = max(6, *map(len, labels))
    lines.append("  labels (rows) and predictions (columns)")
    lines.append(" ".join(["   ", " " * width, *(f"{label:>{width}}" for label in labels)]))
    for label, row in zip(labels, confusion["counts"], strict=True):
        lines.append(" ".join(["   ", f"{label:>{width}}", *(f"{count:{width}d}" for count in row)]))
    return lines


def _differences(against: Mapping[str, Any]) -> list[str]:
    """A line for each measure, and one for the test and the baseline's predictions."""
    lines = []
    for name, each in against["measures"].items():
        text = f"  against {against['baseline']}: {each['difference']:+.2f} {name}, "
        if each["p"] is None:
            lines.append(f"{text}not tested ({each['reason']})")
        else:
            low, high = each["interval"]
            lines.append(f"{text}p {p_text(each['p'], each['at_most'])}, 95% [{low:+.2f}, {high:+.2f}]")
    if any(each["p"] is not None for each in against["measures"].values()):
        count = counted(against["sentences"], "sentence")
        lines.append(f"    {against['test']}, {against['resamples']:,} resamples of {count}")
    if made := _made(against):
        lines.append(f"    {against['baseline']}: {', '.join(made)}")
    return lines


def _made(result: Mapping[str, Any]) -> list[str]:
    """How predictions were made, in a few words."""
    parts = [result["checkpoint"]] if "checkpoint" in result else []
    parts += [_how(result["search"])] if "search" in result else []
    return parts + ([result["source"]] if "source" in result else [])


def _how(search: Mapping[str, Any]) -> str:
    """A search in a few words."""
    samples = search["samples"]
    rows = counted(samples, "sample") if samples else f"beam {search['beam']}"
    return rows + (f", {search['mbr']} MBR" if search["mbr"] != "none" else "")


def examples(lines: Sequence[str], references: Sequence[str], predictions: Sequence[str], count: int) -> str:
    """Some predictions with their references, from short lines to long ones."""
    order = sorted(range(len(predictions)), key=lambda i: len(lines[i].split()))
    chosen = [order[len(order) * (2 * n + 1) // (2 * count)] for n in range(count)]
    blocks = [
        f"  source       {lines[i]}\n  reference    {references[i]}\n  translation  {predictions[i]}" for i in chosen
    ]
    return "\n" + "\n\n".join(blocks) + "\n"
