"""Datasets of TFDS prepared offline by their real builders, to be read by their real names."""

import runpy
from pathlib import Path

prepare = runpy.run_path(str(Path(__file__).parent.parent / "experiments" / "wmt" / "local.py"))["prepare"]

TRAIN = [(f"sentence {i}", f"Satz {i}, größer\u2028") for i in range(50)]
VALIDATION = [(" stripped\n", "zwei\nZeilen"), ("'", "„“")]


def wmt14(folder: Path) -> Path:
    """wmt14_translate/de-en with TRAIN as `train`, and VALIDATION as `validation` and `test`."""
    splits = {"train": TRAIN, "validation": VALIDATION, "test": VALIDATION}
    examples = {name: [{"en": en, "de": de} for en, de in pairs] for name, pairs in splits.items()}
    return prepare("wmt14_translate", "de-en", examples, folder)
