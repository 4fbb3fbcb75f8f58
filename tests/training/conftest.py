"""One run on the toy language, trained once for all tests that resume, read or damage it."""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import toy
from transformer.config import Config, Training
from transformer.tasks.translation.prepared import PreparedTranslation
from transformer.training import step
from transformer.training.run import train

ONLY_THE_LOOPS = ("steps", "log_every", "validate_every", "save_minutes", "patience", "keep_last", "keep_best",
                  "average")  # fmt: skip
"""Training settings that do not affect updates. (The rate of a cosine schedule depends on the number of steps.)"""


@pytest.fixture(scope="session")
def trained(corpora: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was never stopped; tests only read it."""
    folder = tmp_path_factory.mktemp("training")
    train(toy(corpora, folder / "cache"), folder / "whole", "toy")
    return folder / "whole"


@pytest.fixture
def settings(corpora: Path, trained: Path) -> Config:
    """The settings of the trained run. Its cache is shared, so that text is tokenized once."""
    return toy(corpora, trained.parent / "cache")


@pytest.fixture
def whole(trained: Path, tmp_path: Path) -> Path:
    """A copy of the trained run, which a test may change."""
    shutil.copytree(trained, tmp_path / "whole")
    return tmp_path / "whole"


@pytest.fixture(scope="module")
def steps_made() -> dict[Any, step.Step]:
    """The compiled updates of a module's tests, by the settings that they depend on."""
    return {}


@pytest.fixture(autouse=True)
def shared_steps(steps_made: dict[Any, step.Step], monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs whose updates are the same share one function, so that it is traced once in a module."""
    original = step.make_step

    def make_step(graph: Any, task: Any, optimizer: Any, settings: Config, mesh: Any) -> step.Step:
        if type(task) is not PreparedTranslation or settings.schedule.name == "cosine":
            return original(graph, task, optimizer, settings, mesh)
        plain = {name: getattr(Training(), name) for name in ONLY_THE_LOOPS}
        of = dataclasses.replace(settings.training, **plain)
        key = graph, settings.model, settings.task, settings.optimizer, settings.schedule, of, settings.seed, mesh
        if key not in steps_made:
            steps_made[key] = original(graph, task, optimizer, settings, mesh)
        return steps_made[key]

    monkeypatch.setattr(step, "make_step", make_step)
