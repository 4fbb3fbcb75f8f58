"""The cache of compiled programs is used on request."""

import jax
import jax.numpy as jnp
import pytest

import transformer
from transformer.distributed.compilation import FOLDER

SETTINGS = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")


@pytest.fixture(autouse=True)
def restored():
    before = {name: jax.config.values[name] for name in SETTINGS}
    yield
    for name, value in before.items():
        jax.config.update(name, value)
    jax.experimental.compilation_cache.compilation_cache.reset_cache()


def test_programs_are_kept_in_the_folder(tmp_path):
    jax.experimental.compilation_cache.compilation_cache.reset_cache()
    transformer.use_compilation_cache(tmp_path / "programs")
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.jit(lambda x: x * 3 + 17)(jnp.arange(11.0)).block_until_ready()
    assert list((tmp_path / "programs").iterdir())


def test_the_folder_of_the_environment_stays():
    jax.config.update("jax_compilation_cache_dir", "/somewhere")
    transformer.use_compilation_cache()
    assert jax.config.values["jax_compilation_cache_dir"] == "/somewhere"


def test_the_default_is_that_of_the_command_line(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    jax.config.update("jax_compilation_cache_dir", None)
    transformer.use_compilation_cache()
    assert jax.config.values["jax_compilation_cache_dir"] == str(tmp_path) + FOLDER.removeprefix("~")
