"""The command line: `transformer COMMAND ...`. Exit codes: 2 usage, 1 failure, 130 stopped (Ctrl-C, SIGTERM)."""

import logging
import os
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import jax
import tyro

from transformer import recipes
from transformer.commands.data import Data, Inspect, Prepare
from transformer.commands.seeing import Align, Explain
from transformer.commands.training import Demo, Report, Study, Train
from transformer.commands.using import Evaluate, Score, Translate
from transformer.config import Config
from transformer.distributed import processes as cluster
from transformer.errors import InterruptedRunError, TransformerError, UsageError

log = logging.getLogger("transformer")


COMMANDS = {
    "train": Train,
    "data": Data,
    "translate": Translate,
    "score": Score,
    "evaluate": Evaluate,
    "align": Align,
    "explain": Explain,
    "study": Study,
    "report": Report,
    "demo": Demo,
}

Command: TypeAlias = Train | Data | Translate | Score | Evaluate | Align | Explain | Study | Report | Demo


def parse(arguments: list[str]) -> Command:
    """The command of these arguments; exits with 2 and a message where they are wrong, with 0 for --help."""
    # Where a recipe is named, its settings are the defaults of the options.
    train = tyro.conf.subcommand(name="train")
    if settings := _named(arguments, "train"):
        train = tyro.conf.subcommand(name="train", default=Train(tyro.MISSING, config=settings))
    data = tyro.conf.subcommand(name="data")
    for name, kind in (("inspect", Inspect), ("prepare", Prepare)):
        if settings := _named(arguments, "data", name):
            data = tyro.conf.subcommand(name="data", default=Data(kind(tyro.MISSING, config=settings)))
    given = {"train": train, "data": data}
    union: Any = Annotated[Train, train]
    for name, command in list(COMMANDS.items())[1:]:
        union = union | Annotated[command, given.get(name, tyro.conf.subcommand(name=name))]
    return tyro.cli(
        union,
        args=arguments,
        prog="transformer",
        description="Attention in translation: train, translate, evaluate.",
        config=(tyro.conf.FlagCreatePairsOff,),
    )


def _named(arguments: list[str], *words: str) -> Config | None:
    """Settings of the recipe that follows these words; None where they are other ones or ask for help. Raises
    UsageError."""
    command, rest = " ".join(words), arguments[len(words) :]
    if arguments[: len(words)] != list(words) or not rest or rest[0] in ("-h", "--help"):
        return None
    if rest[0].startswith("-"):
        raise UsageError(f"the recipe comes first: transformer {command} RECIPE [options]")
    return recipes.find(rest[0])[1]


def main(arguments: list[str] | None = None) -> None:
    """Run a command and exit."""
    arguments = sys.argv[1:] if arguments is None else arguments
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    log.setLevel(logging.INFO)
    logging.getLogger("absl").setLevel(logging.CRITICAL)  # orbax tells what it does; what fails it raises too
    try:
        command = parse(arguments)
        _set_up_jax()
        if isinstance(command, Train | Evaluate):
            cluster.join(command.cluster)
        command()
    except BaseException as error:
        code = 1
        with suppress(OSError):  # standard error may be a file on the disk that is full
            code = _tell(error)
            sys.stdout.flush()
            sys.stderr.flush()
        if code and cluster.is_distributed() and not isinstance(error, InterruptedRunError):
            # An orderly end waits for the other processes of the job, and they may be waiting for this one.
            os._exit(code)
        sys.exit(code)


def _tell(error: BaseException) -> int:
    """Say what ended the command, in a line; its exit code."""
    match error:
        case SystemExit():
            return error.code if isinstance(error.code, int) else 0
        case TransformerError():
            print(f"transformer: {error}", file=sys.stderr)
            return error.exit_code
        case BrokenPipeError():  # such as `transformer translate ... | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        case OSError():
            print(f"transformer: {error.strerror or error}: {error.filename or 'output'}", file=sys.stderr)
            return 1
        case jax.errors.JaxRuntimeError() if cluster.is_distributed():
            said = str(error).splitlines()[0][:200]
            print(f"transformer: another process of the job ended or cannot be reached ({said})", file=sys.stderr)
            return 1
        case KeyboardInterrupt():
            print("transformer: interrupted", file=sys.stderr)
            return 130
        case _ if cluster.is_distributed():
            traceback.print_exception(error)
            return 1
        case _:
            raise error


def _set_up_jax() -> None:
    """Settings of the whole process, made here alone and never on import."""
    if not jax.config.values["jax_compilation_cache_dir"]:  # JAX_COMPILATION_CACHE_DIR
        # Never where a run's settings say: what is in there is executed, and a run may be a stranger's.
        jax.config.update("jax_compilation_cache_dir", str(Path("~/.cache/transformer/xla").expanduser()))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
    jax.config.update("jax_numpy_rank_promotion", "raise")
