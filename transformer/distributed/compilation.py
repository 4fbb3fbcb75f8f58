"""Compiled programs on disk, so that later processes load them instead of compiling again."""

from pathlib import Path

import jax

FOLDER = "~/.cache/transformer/xla"
"""Never a folder that a run's settings name: its content is executed, and a run may come from a stranger."""


def use_compilation_cache(folder: str | Path | None = None) -> None:
    """Cache the programs that this process compiles, and load those that an earlier one compiled.

    Call it once, before anything is computed. The command line does; in Python nothing is cached otherwise.

    Args:
        folder: by default that of the environment variable JAX_COMPILATION_CACHE_DIR, otherwise `FOLDER`, which the
            command line uses. It must belong to you: programs in it are executed.
    """
    if folder is not None or not jax.config.values["jax_compilation_cache_dir"]:
        jax.config.update("jax_compilation_cache_dir", str(Path(folder or FOLDER).expanduser()))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
