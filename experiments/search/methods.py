"""Search methods, compared on one test set: python experiments/search/methods.py RUN ... [--tokenize none].

The first run translates with every method; with further runs (other seeds of the same recipe) there is also an
ensemble. Writes results.json and tables.md next to this file.
"""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

import transformer
from transformer import api
from transformer.data.corpora import corpus
from transformer.storage.run import Run
from transformer.tasks.translation.scoring import scores, statistics

HERE = Path(__file__).parent
WAYS: dict[str, dict[str, Any]] = {
    "greedy": {"beam": 1},
    "beam 5": {"beam": 5},
    "beam 5, no length penalty": {"beam": 5, "normalize": "none"},
    "beam 5, coverage penalty 0.2": {"beam": 5, "coverage_penalty": 0.2},
    "beam 20": {"beam": 20},
    "one sample": {"samples": 1},
    "one sample, temperature 0.5": {"samples": 1, "temperature": 0.5},
    "one sample, top-p 0.9": {"samples": 1, "top_p": 0.9},
    "MBR chrF of 16 samples, temperature 0.5": {"samples": 16, "temperature": 0.5, "mbr": "chrf"},
    "MBR BLEU of 16 samples, temperature 0.5": {"samples": 16, "temperature": 0.5, "mbr": "bleu"},
    "MBR chrF of 10 best, beam 10": {"beam": 10, "n_best": 10, "mbr": "chrf"},
}


@dataclass(frozen=True)
class Methods:
    """Translate a run's test set with every method."""

    runs: tyro.conf.Positional[tuple[str, ...]]
    """One, or several of the same recipe."""
    tokenize: str = "none"
    """sacreBLEU's tokenizer."""

    def __call__(self) -> None:
        members = [transformer.load(run) for run in self.runs]
        part = corpus.read(Run(Path(self.runs[0])).data, "test", members[0].settings.data.languages)
        found = [self.one(name, members[0], part, search) for name, search in WAYS.items()]
        if len(members) > 1:
            for average in ("probability", "log-probability"):
                together = api.ensemble(members, average)
                name = f"beam 5, ensemble of {len(members)} ({average})"
                found.append(self.one(name, together, part, {"beam": 5}))
        (HERE / "results.json").write_text(json.dumps({"runs": self.runs, "ways": found}, indent=1) + "\n")
        table = show(found)
        (HERE / "tables.md").write_text(table)
        print(table)

    def one(self, name: str, model: api.TrainedModel, part: corpus.Corpus, search: dict[str, Any]) -> dict[str, Any]:
        """Scores and time of one method; the time is that of the first pass without compilation."""
        compiled = -1
        while compiled != model.engine.programs.compiled:
            compiled, began = model.engine.programs.compiled, time.perf_counter()
            hypotheses = model.search(part.sources, **search)
            seconds = time.perf_counter() - began
        texts = [one.text for one in hypotheses]
        found = scores(statistics(texts, part.targets, self.tokenize, metrics=("bleu", "chrf")), self.tokenize)
        bleu, chrf = found["BLEU"], found["chrF2"]
        words = sum(len(one.text.split()) for one in hypotheses) / sum(len(text.split()) for text in part.targets)
        logp = sum(one.logp for one in hypotheses) / len(hypotheses)
        print(f"{name}: {bleu['value']:.2f} BLEU, {seconds:.1f} s", flush=True)
        return {
            "way": name,
            "search": search,
            "bleu": bleu["value"],
            "interval": bleu["interval"],
            "chrf": chrf["value"],
            "signature": bleu["signature"],
            "length_ratio": words,
            "logp": logp,
            "seconds": seconds,
            "sentences_per_s": len(hypotheses) / seconds,
        }


def show(found: list[dict[str, Any]]) -> str:
    """The Markdown table."""
    lines = [
        "| search | BLEU | chrF | words relative to reference | log-probability | sentences/s |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for row in found:
        low, high = row["interval"] or (float("nan"), float("nan"))
        lines.append(
            f"| {row['way']} | {row['bleu']:.1f} [{low:.1f}, {high:.1f}] | {row['chrf']:.1f} | "
            f"{row['length_ratio']:.2f} | {row['logp']:.2f} | {row['sentences_per_s']:.0f} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    tyro.cli(Methods)()
