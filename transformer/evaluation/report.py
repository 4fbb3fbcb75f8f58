"""Scores of a run on a corpus: computed, kept as files, and shown as text."""

import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.significance import PairedTest, Result

from transformer.api import TrainedModel
from transformer.data.corpora import corpus
from transformer.data.corpora.corpus import Corpus
from transformer.data.corpora.files import read_lines
from transformer.distributed import processes as cluster
from transformer.errors import TransformerError
from transformer.evaluation.metrics import by_length, scores
from transformer.storage.files import write_json
from transformer.storage.run import Run
from transformer.training import run_directory as rundir


def evaluate(
    model: TrainedModel,
    part: Corpus,
    folder: Path,
    *,
    against: str = "",
    tokenize: str = "13a",
    lowercase: bool = False,
    search: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Translate and score a corpus. Writes `<folder>/<name>.hypotheses` and `<folder>/<name>.json`.

    Args:
        model: what translates.
        part: sources and references.
        folder: report folder of the run.
        against: a run with a report on the same set, or a file of translations; "" for none.
        tokenize: sacreBLEU's tokenizer.
        lowercase: ignore case.
        search: overrides of `config.Decoding`.
    """
    began = time.perf_counter()
    hypotheses = model.translate(part.sources, **(search or {}))
    seconds = time.perf_counter() - began
    found = scores(hypotheses, part.targets, tokenize=tokenize, lowercase=lowercase)
    loss = model.score(part.sources, part.targets).loss
    result: dict[str, Any] = {
        "set": part.name,
        "sentences": len(hypotheses),
        "checkpoint": model.checkpoint,
        "search": dataclasses.asdict(model.settings.decoding) | (search or {}),
        "scores": {score.name: score._asdict() for score in found},
        "perplexity": float(np.exp(min(loss, 700))),
        "by_length": by_length(part.sources, hypotheses, part.targets, tokenize, lowercase),
        "seconds": seconds,
    }
    if against:
        result["against"] = _paired(against, part, hypotheses, tokenize, lowercase)
    if cluster.is_main_process():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{part.name}.hypotheses").write_text("".join(h + "\n" for h in hypotheses), encoding="utf-8")
        write_json(folder / f"{part.name}.json", result)
    return result | {"hypotheses": hypotheses}


def _paired(against: str, part: Corpus, hypotheses: list[str], tokenize: str, lowercase: bool) -> dict[str, Any]:
    """Paired bootstrap resampling (Koehn 2004) of BLEU against another system's translations."""
    path = Path(against)
    if path.is_dir():
        path = Run(path).report / f"{part.name}.hypotheses"
        if not path.is_file():
            raise TransformerError(f"{against} has no {path.name} yet: run `transformer evaluate {against}` first")
        settings = rundir.read_config(Path(against))
        other = corpus.read(Run(Path(against)).data, part.name, settings.data.languages)
        if other.targets != part.targets:
            raise TransformerError(f"{against} was evaluated on another {part.name} set than this run")
    baseline = read_lines(path)
    if len(baseline) != len(hypotheses):
        raise TransformerError(f"{path} has {len(baseline)} lines, the {part.name} set {len(hypotheses)}")
    test = PairedTest(
        [("baseline", baseline), ("system", hypotheses)],
        {"BLEU": BLEU(references=[part.targets], tokenize=tokenize, lowercase=lowercase, force=True)},
        references=None,
        test_type="bs",
        n_samples=1000,
    )
    _, result = test()
    before, now = (entry for entry in result["BLEU"] if isinstance(entry, Result))
    return {
        "baseline": str(path),
        "bleu": float(before.score),
        "difference": float(now.score - before.score),
        "p": now.p_value,
    }


def show(result: dict[str, Any]) -> str:
    """The result as lines for the terminal."""
    name = result["set"] + (" (constructions that training never showed)" if result["set"] == "unseen" else "")
    lines = [f"\n{name}: {result['sentences']} sentences, {result['checkpoint']}, {_how(result['search'])}"]
    for metric, score in result["scores"].items():
        interval = ""
        if score["interval"]:
            low, high = score["interval"]
            interval = f"  95% [{low:.1f}, {high:.1f}]"
        lines.append(f"  {metric:5} {score['value']:6.2f}{interval}  {score['signature']}")
    lines.append(f"  perplexity {result['perplexity']:.3f} (a token of this tokenizer), {result['seconds']:.1f} s")
    lines.append("  BLEU by source length (words)")
    for row in result["by_length"]:
        bar = "█" * round(row["bleu"] / 4)
        lines.append(f"    {row['words']:>6} {row['bleu']:6.2f} {bar} ({row['sentences']} sentences)")
    if "against" in result:
        other = result["against"]
        lines.append(
            f"  against {other['baseline']}: {other['difference']:+.2f} BLEU, p = {other['p']:.3f} (paired bootstrap)"
        )
    return "\n".join(lines)


def _how(search: dict[str, Any]) -> str:
    """A search in a few words."""
    rows = f"{search['samples']} sample(s)" if search["samples"] else f"beam {search['beam']}"
    return rows + (f", {search['mbr']} MBR" if search["mbr"] != "none" else "")


def examples(part: Corpus, hypotheses: list[str], count: int) -> str:
    """Some translations beside their references, spread over the corpus from short to long."""
    order = sorted(range(len(hypotheses)), key=lambda i: len(part.sources[i].split()))
    chosen = [order[len(order) * (2 * n + 1) // (2 * count)] for n in range(count)]
    blocks = [
        f"  source       {part.sources[i]}\n  reference    {part.targets[i]}\n  translation  {hypotheses[i]}"
        for i in chosen
    ]
    return "\n" + "\n\n".join(blocks) + "\n"
