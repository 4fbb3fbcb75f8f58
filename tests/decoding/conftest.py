"""One run on the toy language, for all that translates with it."""

import dataclasses
from pathlib import Path

import pytest

import transformer
from tests.conftest import tiny
from transformer import workflow
from transformer.config import Attention, Batching, Config, Data, Rnn, Schedule, Tokenizer, Training


def toy(corpora: Path, folder: Path) -> Config:
    return Config(
        data=Data(
            source="files",
            languages=("xx", "yy"),
            train=str(corpora / "train"),
            validation=str(corpora / "validation"),
            test=str(corpora / "test"),
            max_length=16,
            cache=str(folder / "cache"),
        ),
        tokenizer=Tokenizer(kind="word", vocabulary=200),
        batching=Batching(tokens=512, shapes=1),
        model=tiny(dropout=0.0, attention_dropout=0.0, feedforward_dropout=0.0),
        schedule=Schedule(peak=5e-3, warmup=20),
        training=Training(steps=60, log_every=20, validate_every=60, validate_sentences=8, loss_chunk=64),
    )


@pytest.fixture(scope="session")
def trained_run(corpora: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("decoding")
    workflow.train(toy(corpora, folder), folder / "run", "toy")
    return folder / "run"


@pytest.fixture(scope="session")
def recurrent_run(corpora: Path, trained_run: Path) -> Path:
    """Another family, with the same tokenizer."""
    folder = trained_run.parent
    model = Rnn(embedding=8, width=16, attention=Attention(score="general"), max_length=32)
    settings = dataclasses.replace(toy(corpora, folder), model=model)
    workflow.train(settings, folder / "recurrent", "toy")
    return folder / "recurrent"


@pytest.fixture(scope="session")
def trained_model(trained_run: Path) -> transformer.api.Translation:
    return transformer.load(trained_run)
