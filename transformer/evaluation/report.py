"""The report of a test set: predictions are made, scored and compared; the result is written, and shown as text.

It is the same for every task. What differs is given: how lines are predicted, the measures, the counts that they are
computed from, and what a task reports besides.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from transformer.distributed import processes as cluster
from transformer.errors import TransformerError
from transformer.evaluation.measures import Counts, Measure, differences, scores
from transformer.storage.files import write_json


class Baseline(NamedTuple):
    """Predictions of another system for the same lines."""

    path: str
    """Their file."""
    predictions: Sequence[str]


class Evaluation(NamedTuple):
    """An evaluated test set."""

    predictions: Sequence[str]
    counts: Counts
    result: dict[str, Any]
    """What `write` writes and `show` shows."""


def evaluate(
    name: str,
    lines: Sequence[str],
    references: Sequence[str],
    *,
    predict: Callable[[Sequence[str]], Sequence[str]],
    statistics: Callable[[Sequence[str], Sequence[str]], Counts],
    measures: Mapping[str, Measure],
    details: Callable[[Sequence[str], Sequence[str] | None], Mapping[str, Any]] = lambda predictions, baseline: {},
    about: Mapping[str, Any] | None = None,
    baseline: Baseline | None = None,
) -> Evaluation:
    """Predict and score a test set. Each measure has its 95% interval by bootstrap over lines; the difference from a
    baseline is tested by paired bootstrap.

    Args:
        name: of the set.
        lines: of input.
        references: the answers they should get.
        predict: answers to lines.
        statistics: counts of predictions and references; see `tasks.task.Predictor.statistics`.
        measures: of the task.
        details: further parts of the result, from the predictions and those of the baseline. They replace those that
            every task has.
        about: further parts of the result, such as the checkpoint.
        baseline: another system.

    Raises TransformerError if the baseline has another number of lines.
    """
    if baseline is not None and len(baseline.predictions) != len(lines):
        raise TransformerError(f"{baseline.path} has {len(baseline.predictions)} lines, the {name} set {len(lines)}")
    began = time.perf_counter()
    predictions = predict(lines)
    seconds = time.perf_counter() - began
    counts = statistics(predictions, references)
    own = dict(details(predictions, None if baseline is None else baseline.predictions))
    against = own.pop("against", None)
    result = {
        "set": name,
        "sentences": len(predictions),
        **(about or {}),
        **({} if "scores" in own else {"scores": scores(counts, measures)}),
        **own,
        "seconds": seconds,
    }
    if baseline is not None:
        if against is None:
            against = {"measures": differences(counts, statistics(baseline.predictions, references), measures)}
        result["against"] = {"baseline": baseline.path, **against}
    return Evaluation(predictions, counts, result)


def write(folder: Path, evaluation: Evaluation) -> None:
    """Write NAME.hypotheses and NAME.json into a run's report folder; only the main process does."""
    if cluster.is_main_process():
        folder.mkdir(parents=True, exist_ok=True)
        name = evaluation.result["set"]
        text = "".join(line + "\n" for line in evaluation.predictions)
        (folder / f"{name}.hypotheses").write_text(text, encoding="utf-8")
        write_json(folder / f"{name}.json", evaluation.result)


def show(result: Mapping[str, Any]) -> str:
    """The result as lines for the terminal; parts that it does not have are left out."""
    name = result["set"] + (" (constructions that training never showed)" if result["set"] == "unseen" else "")
    about = [f"{name}: {result['sentences']} sentences"]
    if "checkpoint" in result:
        about.append(result["checkpoint"])
    if "search" in result:
        about.append(_how(result["search"]))
    lines = ["\n" + ", ".join(about)]
    for metric, score in result["scores"].items():
        interval = ""
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
            lines.append(f"    {row['words']:>6} {row['bleu']:6.2f} {bar} ({row['sentences']} sentences)")
    if "against" in result:
        lines += _differences(result["against"])
    return "\n".join(lines)


def _differences(against: Mapping[str, Any]) -> list[str]:
    """A line for each measure."""
    found = against.get("measures") or {"BLEU": against}
    return [
        f"  against {against['baseline']}: {each['difference']:+.2f} {name}, p = {each['p']:.3f} (paired bootstrap)"
        for name, each in found.items()
    ]


def _how(search: Mapping[str, Any]) -> str:
    """A search in a few words."""
    rows = f"{search['samples']} sample(s)" if search["samples"] else f"beam {search['beam']}"
    return rows + (f", {search['mbr']} MBR" if search["mbr"] != "none" else "")


def examples(lines: Sequence[str], references: Sequence[str], predictions: Sequence[str], count: int) -> str:
    """Some predictions with their references, from short lines to long ones."""
    order = sorted(range(len(predictions)), key=lambda i: len(lines[i].split()))
    chosen = [order[len(order) * (2 * n + 1) // (2 * count)] for n in range(count)]
    blocks = [
        f"  source       {lines[i]}\n  reference    {references[i]}\n  translation  {predictions[i]}" for i in chosen
    ]
    return "\n" + "\n\n".join(blocks) + "\n"
