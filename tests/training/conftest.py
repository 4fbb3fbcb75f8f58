"""One run on the toy language, trained once for all tests that resume, read or damage it."""

import shutil
from pathlib import Path

import pytest

from tests.conftest import toy
from transformer.config import Config
from transformer.training.run import train


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
