"""Shared fixtures. Warnings are errors, rank promotion raises, and public shapes are checked (see pyproject)."""

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import jax
import pytest

from transformer.config import (
    Attention,
    Batching,
    Config,
    Data,
    Grammar,
    Schedule,
    Tokenizer,
    Training,
    Transformer,
    Translation,
)
from transformer.models.build import create, split
from transformer.storage.run import Run
from transformer.tasks.translation.prepare import prepare
from transformer.training import run_directory as rundir
from transformer.training.checkpoint import Checkpoints
from transformer.training.loop import LoopState

os.environ.setdefault("MPLBACKEND", "agg")
# Thousands of small programs are compiled and hardly run: what they compute is tested, not how fast. XLA reads these
# flags when the first program is compiled. Without the fusion emitters a program compiles in half the time.
# Each test process has about one core, so that a program that is compiled in parts only has more of them.
QUICK = (
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true --xla_cpu_use_fusion_emitters=false "
    "--xla_cpu_parallel_codegen_split_count=1"
)
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {QUICK}"
# Processes that tests start do not compile the source of every package that they import.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
os.environ.setdefault("PYTHONPYCACHEPREFIX", str(Path(__file__).parent.parent / ".pytest_cache" / "bytecode"))
jax.config.update("jax_numpy_rank_promotion", "raise")
# One cache for all processes that share the tests. What another is still writing cannot be read and is compiled.
# Without XLA's own caches, whose folder is part of a program's key, a checkout elsewhere has the same keys.
jax.config.update("jax_compilation_cache_dir", str(Path(__file__).parent.parent / ".pytest_cache" / "xla"))
jax.config.update("jax_persistent_cache_enable_xla_caches", "none")


def pytest_runtest_setup() -> None:
    """Every program is cached, even after a test of the command line, which sets its own limit."""
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)


def pytest_collection_finish() -> None:
    """Imported objects are permanent: the garbage collector need not traverse them again and again."""
    gc.collect()
    gc.freeze()


HEAVY = ("test_loop", "test_search", "test_translate", "test_attention_variants", "test_interface", "test_grammar",
         "test_cli", "test_study", "test_sharding", "test_engine", "test_rnn", "test_step", "test_recipes",
         "test_plugins", "test_composed", "test_demo", "test_remat")  # fmt: skip
"""The longest first."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take minutes run first, so that no worker is left with one when the other is done."""
    rank = {name: place for place, name in enumerate(HEAVY)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(HEAVY)))


@pytest.fixture(autouse=True, scope="module")
def forget_programs() -> Iterator[None]:
    """Each compiled program holds memory and a hundred of the system's few memory maps: a module's go with it."""
    yield
    jax.clear_caches()
    gc.collect()


@pytest.fixture(scope="session")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A toy language in files: the target is the source's words in capitals, backwards."""
    folder = tmp_path_factory.mktemp("corpora")
    words = [a + b for a in "bdgklmn" for b in "aeiou"]
    for name, count, seed in (("train", 300, 1), ("validation", 24, 2), ("test", 16, 3)):
        state = seed
        sources = []
        for _ in range(count):
            state = (state * 1_103_515_245 + 12_345) % 2**31
            length = 1 + state // 65_536 % 7
            chosen = []
            for _ in range(length):
                state = (state * 1_103_515_245 + 12_345) % 2**31
                chosen.append(words[state // 65_536 % len(words)])
            sources.append(" ".join(chosen))
        targets = [" ".join(reversed(line.upper().split())) for line in sources]
        (folder / f"{name}.xx").write_text("".join(line + "\n" for line in sources), encoding="utf-8")
        (folder / f"{name}.yy").write_text("".join(line + "\n" for line in targets), encoding="utf-8")
    return folder


@pytest.fixture
def settings(corpora: Path, tmp_path: Path) -> Config:
    """A recipe of seconds on the toy language."""
    return toy(corpora, tmp_path / "cache")


def toy(corpora: Path, cache: Path) -> Config:
    """A recipe of seconds on the files of `corpora`."""
    return Config(
        data=Data(
            source="files",
            languages=("xx", "yy"),
            train=str(corpora / "train"),
            validation=str(corpora / "validation"),
            test=str(corpora / "test"),
            max_length=16,
            cache=str(cache),
            grammar=Grammar(train=50, validation=5, test=5),
        ),
        tokenizer=Tokenizer(kind="word", vocabulary=200),
        batching=Batching(tokens=256, shapes=1),
        model=tiny(),
        schedule=Schedule(peak=3e-3, warmup=10),
        # By the loss alone: the search of translations compiles longer than all the rest. Validation BLEU is tested in
        # `test_attention_variants`.
        task=Translation(validate_sentences=0, metric="loss"),
        training=Training(steps=12, log_every=2, validate_every=6, loss_chunk=64),
    )


def untrained(settings: Config, folder: Path) -> Path:
    """A run directory of an untrained model, with everything that the commands after `train` read."""
    run, prepared = Run(folder), prepare(settings, None)
    _, parameters = split(prepared.build_model())
    folder.mkdir()
    prepared.save(folder)
    rundir.save(run, settings, {"recipe": "toy", "init_from": None, "identity": prepared.identity})
    checkpoints = Checkpoints(run.checkpoints, settings.training)
    checkpoints.save(
        {"step": jax.numpy.int32(1), "parameters": parameters, "optimizer": {"none": jax.numpy.int32(0)}},
        LoopState().to_json(),
        0.0,
    )
    checkpoints.close()
    return folder


def tiny(**changes: object) -> Transformer:
    """A Transformer of thousands of parameters, every dropout on."""
    values: dict[str, object] = {
        "encoder_layers": 2,
        "decoder_layers": 2,
        "width": 16,
        "feedforward": 24,
        "attention": Attention(heads=2),
        "max_length": 32,
        "dropout": 0.2,
        "attention_dropout": 0.1,
        "feedforward_dropout": 0.1,
    }
    return Transformer(**(values | changes))  # type: ignore[arg-type]


@pytest.fixture
def tiny_model() -> object:
    """A fresh tiny Transformer over 13 tokens."""
    return create(tiny(), 13, 13, 1)
