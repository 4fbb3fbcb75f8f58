"""The path from text to batches by the size of the corpus: pairs a second, memory, batches a second, waiting.

    python experiments/throughput/data.py --pairs 50000 500000 5000000

The text is from the grammar, generated once by all cores (about ten minutes of one core for a million pairs). Each size
is measured in its own process with an empty cache. Results go to results/data.json, the picture to results/data.png.
"""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import matplotlib as mpl
import tyro
from matplotlib.figure import Figure

from transformer import check
from transformer.config import Batching, Config, Data, Tokenizer, Training
from transformer.data.batching import epochs
from transformer.data.batching.pairs import assemble
from transformer.data.grammar.pairs import generate
from transformer.tasks.translation import prepare

HERE = Path(__file__).parent / "results"
STEP = 0.05
"""Seconds of a simulated update."""


@dataclass(frozen=True)
class Measure:
    """Measure every size and draw the figure."""

    pairs: tuple[int, ...] = (50_000, 500_000, 5_000_000)
    folder: Path = Path("runs/throughput-data")
    """Where text and caches are; the caches are removed."""
    one: bool = False
    """Measure the first size in this process, and print it as JSON."""

    def __call__(self) -> None:
        if self.one:
            print(json.dumps(measure(self.pairs[0], self.folder)))
            return
        make_text(self.folder, max(self.pairs))
        found = []
        for size in sorted(self.pairs):
            command = [sys.executable, __file__, "--one", "--pairs", str(size), "--folder", str(self.folder)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            found.append(json.loads(done.stdout.splitlines()[-1]))
            print(found[-1])
        HERE.mkdir(exist_ok=True)
        (HERE / "data.json").write_text(json.dumps(found, indent=2) + "\n")
        draw(found, HERE / "data.png")


def make_text(folder: Path, pairs: int) -> None:
    """`train.en` and `train.de` with this many pairs, and a small validation set."""
    about = folder / "pairs"
    if about.is_file() and int(about.read_text()) >= pairs:
        return
    folder.mkdir(parents=True, exist_ok=True)
    parts = 100
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn")) as pool:
        jobs = [pool.submit(write_part, folder, part, -(-pairs // parts)) for part in range(parts)]
        for job in jobs:
            job.result()
    for language in ("en", "de"):
        with (folder / f"train.{language}").open("wb") as whole:
            for part in range(parts):
                path = folder / f"part{part}.{language}"
                with path.open("rb") as file:
                    shutil.copyfileobj(file, whole)
                path.unlink()
    for language, side in (("en", "source"), ("de", "target")):
        lines = [getattr(pair, side) for pair in islice(generate("validation", seed=1), 500)]
        (folder / f"validation.{language}").write_text("".join(line + "\n" for line in lines))
    about.write_text(str(pairs))


def write_part(folder: Path, part: int, pairs: int) -> None:
    with (folder / f"part{part}.en").open("w") as english, (folder / f"part{part}.de").open("w") as german:
        for pair in islice(generate("train", seed=1_000 + part), pairs):
            english.write(pair.source + "\n")
            german.write(pair.target + "\n")


class Peak:
    """Peak memory of this process while a part was measured, in MiB: in total, and without pages of files."""

    def __init__(self) -> None:
        self.own, self.all, self._over = 0, 0, threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def _watch(self) -> None:
        over = False
        while not over:
            values = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
            self.own = max(self.own, int(values["RssAnon"].split()[0]) >> 10)
            self.all = max(self.all, int(values["VmRSS"].split()[0]) >> 10)
            over = self._over.wait(0.02)

    def end(self) -> None:
        self._over.set()
        self._thread.join()


@contextmanager
def part(result: dict[str, Any], name: str) -> Iterator[None]:
    peak, began = Peak(), time.perf_counter()
    try:
        yield
    finally:
        result[f"{name}_s"] = time.perf_counter() - began
        peak.end()
        result[f"{name}_own_mib"], result[f"{name}_rss_mib"] = peak.own, peak.all


def measure(count: int, folder: Path) -> dict[str, Any]:
    """All parts for the first pairs of the text."""
    cache = folder / f"cache{count}"
    shutil.rmtree(cache, ignore_errors=True)
    settings = Config(
        data=Data(
            source="files", train=str(folder / "train"), validation=str(folder / "validation"), limit=count,
            max_length=128, cache=str(cache),
        ),
        tokenizer=Tokenizer(kind="bpe", vocabulary=8_000),
        batching=Batching(tokens=25_600, shapes=12, length_multiple=8),
        training=Training(),
    )  # fmt: skip
    settings = dataclasses.replace(settings, model=dataclasses.replace(settings.model, max_length=256))
    check.everything(settings)
    result: dict[str, Any] = {"pairs": count, "cores": os.cpu_count()}
    try:
        from transformer.data import pairs
        from transformer.data.corpora.load import load_corpora
        from transformer.data.tokenizers.cached import cached_tokenizers
        from transformer.tasks.translation.prepare import _epochs, _shares

        with part(result, "text"):
            corpora = load_corpora(settings.data)
        with part(result, "tokenizer"):
            tokenizers = cached_tokenizers(settings.tokenizer, corpora.train, cache)
        with part(result, "examples"):
            train = pairs.build(corpora.train, tokenizers, settings.data.max_length, cache)
        with part(result, "plan"):
            given = _epochs(settings, corpora, train, tokenizers, _shares(settings, corpora, train), cache)
            _, plan = given.epoch(0)
            plan.batch(0)
        with part(result, "again"):  # everything is found
            prepare.prepare(settings, None)
        result |= {"examples": len(train), "batches_per_epoch": len(plan)}
        opened = epochs.stream(given, lambda examples, bucket, ids, _: assemble(examples, bucket, ids))
        with part(result, "stream"):
            for _ in islice(opened, 1_000):
                pass
        waited = 0.0
        for number in range(220):
            asked = time.perf_counter()
            next(opened)
            waited += (time.perf_counter() - asked) * (number >= 20)
            time.sleep(STEP)
        opened.close()
        result["input_wait"] = waited / (200 * STEP + waited)
    finally:
        shutil.rmtree(cache, ignore_errors=True)
    result["batches_per_s"] = 1_000 / result["stream_s"]
    result["prepared_pairs_per_s"] = count / (result["text_s"] + result["examples_s"])
    return result


def draw(found: list[dict[str, Any]], path: Path) -> None:
    """How time, memory and speed grow with the corpus."""
    sizes = [one["pairs"] for one in found]
    with mpl.rc_context({"font.size": 9}):
        figure = Figure(figsize=(9.5, 3), layout="constrained")
        axes = figure.subplots(1, 3)
        for name, label, marker in (
            ("text", "text cleaned", "o"), ("tokenizer", "tokenizer trained", "v"), ("examples", "tokenised", "s"),
            ("plan", "planned", "D"), ("again", "all found again", "^"),
        ):  # fmt: skip
            axes[0].loglog(sizes, [one[f"{name}_s"] for one in found], marker=marker, label=label)
        axes[0].set(ylabel="seconds", ylim=(None, 2e4))  # room for the legend
        for name, label, marker in (("examples", "tokenised", "s"), ("plan", "planned", "D"), ("stream", "read", "o")):
            axes[1].semilogx(
                sizes, [one[f"{name}_own_mib"] or float("nan") for one in found], marker=marker, label=label
            )
        axes[1].set(ylabel="own memory of the process, MiB", ylim=(0, None))
        axes[2].semilogx(sizes, [one["batches_per_s"] for one in found], marker="o", label="batches a second")
        axes[2].axhline(1 / STEP, color="gray", linestyle="--", label="wanted at 50 ms an update")
        axes[2].set(ylabel="batches of 25,600 tokens a second", ylim=(0, None))
        for ax in axes:
            ax.set(xlabel="pairs")
            ax.grid(alpha=0.3)
            ax.legend(frameon=False, fontsize=8, loc="upper left" if ax is axes[0] else "center right")
        figure.savefig(path, dpi=150)


if __name__ == "__main__":
    tyro.cli(Measure)()
