"""The paths of a run directory: everything that a run writes, and everything that the commands after `train` need.

config.json       the resolved settings, the recipe's name, the data's hashes, the git commit of each session
tokenizer/        pieces and their hash
data/             the validation and test sets as text, and their checksums
checkpoints/      see `checkpoint`
damaged/          checkpoints that were found damaged, moved out of the way
average/          averaged parameters, when the recipe asks for them
metrics.jsonl     one JSON object a line; events/ has the same for TensorBoard
report/           curves and scores
ctranslate2/      exports that `translate --engine ctranslate2` uses
profile/          a trace of some updates, of `train --profile`
lock              held by the process that trains
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Run:
    """Paths of a run directory."""

    folder: Path

    @property
    def config(self) -> Path:
        return self.folder / "config.json"

    @property
    def tokenizer(self) -> Path:
        return self.folder / "tokenizer"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def average(self) -> Path:
        return self.folder / "average"

    @property
    def metrics(self) -> Path:
        return self.folder / "metrics.jsonl"

    @property
    def events(self) -> Path:
        return self.folder / "events"

    @property
    def profile(self) -> Path:
        return self.folder / "profile"

    @property
    def exports(self) -> Path:
        return self.folder / "ctranslate2"

    @property
    def lock(self) -> Path:
        return self.folder / "lock"

    @property
    def report(self) -> Path:
        return self.folder / "report"
