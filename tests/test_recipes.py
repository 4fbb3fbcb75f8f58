"""Every named recipe runs, shrunk to seconds, on invented text under the names of its real text."""

import json
import os
import re
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

from tests import tfds
from transformer import recipes
from transformer.config import Config, Translation
from transformer.data.grammar.pairs import generate


def sentences(count: int) -> list[tuple[str, str]]:
    """Enough pairs of words for any tokenizer; the languages do not matter here."""
    return [(pair.source, pair.target) for pair in islice(generate("train", seed=3), count)]


def invent(settings: Config, folder: Path) -> None:
    """The text that a recipe names, where it looks for it: files beneath `folder`, or a dataset of TFDS."""
    data, pairs = settings.data, sentences(300)
    if data.source == "files":
        for split, part in (("train", pairs[:240]), ("validation", pairs[240:270]), ("test", pairs[270:])):
            if prefix := getattr(data, split):
                (folder / prefix).parent.mkdir(parents=True, exist_ok=True)
                if not isinstance(settings.task, Translation):
                    (folder / prefix).write_text("".join(f"{pair[0]}\n" for pair in part))
                    continue
                for side, language in enumerate(data.languages):
                    (folder / f"{prefix}.{language}").write_text("".join(f"{pair[side]}\n" for pair in part))
    elif data.source.startswith("tfds:"):
        dataset, config = data.source.removeprefix("tfds:").split("/")
        parts = {"train": pairs[:240], "validation": pairs[240:270], "test": pairs[270:]}
        examples = {
            split: [dict(zip(data.languages, pair, strict=True)) for pair in part] for split, part in parts.items()
        }
        tfds.prepare(dataset, config, examples, folder / "datasets")


PROGRAM = """
import json, sys
from transformer.cli import main
try:
    for command in json.loads(sys.argv[1]):
        print("$", *command, flush=True)
        try:
            main(command)
        except SystemExit as end:
            if end.code:
                raise
finally:
    assert "tensorflow" not in sys.modules
"""


def transformer(folder: Path, *commands: list[str]) -> list[str]:
    """Runs commands in one separate process, which never imports TensorFlow; returns the output of each."""
    path = f"{Path(__file__).parent.parent}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    environment = os.environ | {"PYTHONPATH": path, "TFDS_DATA_DIR": str(folder / "datasets")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(commands)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return re.split(r"^\$ .*$", done.stdout, flags=re.MULTILINE)[1:]


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in recipes.names() if not name.startswith("files")])
def test_recipe_smokes(name, tmp_path):
    invent(recipes.find(name)[1], tmp_path)
    given = "--smoke", "--data.cache", str(tmp_path / "cache")
    translates = isinstance(recipes.find(name)[1].task, Translation)
    evaluate = ["evaluate", "run", *(["--beam", "2"] if translates else [])]
    score = "BLEU" if translates else "perplexity"
    assert score in transformer(tmp_path, ["train", name, *given, "--run", "run"], evaluate)[1]


@pytest.mark.slow
def test_the_wmt_pipeline_under_its_real_name(tmp_path):
    """Prepared, trained on, evaluated and translated with: wmt14_translate/de-en, offline, without TensorFlow."""
    name = "wmt14_ende_base"
    invent(recipes.find(name)[1], tmp_path)
    given = (
        "--smoke", "--data.cache", str(tmp_path / "cache"), "--tokenizer.vocabulary", "400", "--batching.shapes", "1",
        "--tokenizer.sampling", "0.1", "--data.filter.max-ratio", "3", "--training.ema", "0.9",
    )  # fmt: skip
    (tmp_path / "new.en").write_text("the old man sleeps .\n")
    prepared, _, evaluated, _ = transformer(
        tmp_path,
        ["data", "prepare", name, *given],
        ["train", name, *given, "--run", "run"],
        ["evaluate", "run", "--beam", "2"],
        ["translate", "run", "--input", "new.en", "--output", "new.de"],
    )
    assert "240 training pairs prepared" in prepared
    assert "BLEU" in evaluated
    assert len((tmp_path / "new.de").read_text().splitlines()) == 1
