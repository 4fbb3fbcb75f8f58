"""Steady-state speed of translating a file: python experiments/search/speed.py RUN --input FILE [--beam 5].

Translates the whole file several times with a loaded model; the first time, which compiles, is reported separately.
Prints one JSON object. The figure includes tokenising, searching and writing text.
"""

import json
import resource
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import jax
import tyro

import transformer
from transformer.__main__ import ask_for_huge_pages
from transformer.commands.options import Search
from transformer.data.corpora.files import read_lines


@dataclass(frozen=True)
class Measure:
    """Time the translation of a file."""

    run: tyro.conf.Positional[str]
    input: str
    """Sources, plain or .gz."""
    runs: int = 5
    """Counted times."""
    output: str = ""
    """A new file for the translations' pieces, to compare with another engine's."""
    search: Annotated[Search, tyro.conf.arg(name="")] = field(default_factory=Search)

    def __call__(self) -> dict[str, Any]:
        model = transformer.load(self.run)
        lines = read_lines(Path(self.input))
        seconds = []
        for _ in range(self.runs + 1):
            began = time.perf_counter()
            found = model.search(lines, **self.search.overrides())
            seconds.append(time.perf_counter() - began)
        engine = model.engine
        if self.output:
            pieces = (" ".join(model.tokenizers.target.pieces(one.tokens)) + "\n" for one in found)
            with Path(self.output).open("x", encoding="utf-8") as file:
                file.writelines(pieces)
        median = statistics.median(seconds[1:])
        return {
            "ours": self.run,
            "device": jax.devices()[0].device_kind,
            "search": self.search.overrides(),
            "sentences_per_s": round(len(lines) / median, 1),
            "from": round(len(lines) / max(seconds[1:]), 1),
            "to": round(len(lines) / min(seconds[1:]), 1),
            "tokens_per_sentence": round(sum(len(one.tokens) + 1 for one in found) / len(lines), 2),
            "first_time_s": round(seconds[0], 1),
            "programs": engine.programs.compiled,
            "compile_s": round(engine.programs.seconds, 1),
            "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        }


if __name__ == "__main__":
    ask_for_huge_pages()
    print(json.dumps(tyro.cli(Measure)()))
