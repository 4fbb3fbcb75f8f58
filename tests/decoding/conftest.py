"""One run on the toy language, for all that translates with it."""

import dataclasses
from pathlib import Path

import pytest

from tests.conftest import tiny, toy
from transformer.api import TrainedModel, load
from transformer.config import Attention, Config, Rnn, Schedule
from transformer.training.run import train


def learned(corpora: Path, folder: Path) -> Config:
    """The toy recipe without dropout, for long enough that translations are words."""
    plain = toy(corpora, folder / "cache")
    return dataclasses.replace(
        plain,
        batching=dataclasses.replace(plain.batching, tokens=512),
        model=tiny(dropout=0.0, attention_dropout=0.0, feedforward_dropout=0.0),
        schedule=Schedule(peak=5e-3, warmup=20),
        training=dataclasses.replace(plain.training, steps=60, log_every=20, validate_every=60),
    )


@pytest.fixture(scope="session")
def trained_run(corpora: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("decoding")
    train(learned(corpora, folder), folder / "run", "toy")
    return folder / "run"


@pytest.fixture(scope="session")
def recurrent_run(corpora: Path, trained_run: Path) -> Path:
    """Another family, with the same tokenizer."""
    folder = trained_run.parent
    model = Rnn(embedding=8, width=16, attention=Attention(score="general"), max_length=32)
    settings = dataclasses.replace(learned(corpora, folder), model=model)
    train(settings, folder / "recurrent", "toy")
    return folder / "recurrent"


@pytest.fixture(scope="session")
def trained_model(trained_run: Path) -> TrainedModel:
    return load(trained_run)
