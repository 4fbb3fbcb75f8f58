"""The command line: `transformer COMMAND ...`. Exit codes: 2 usage, 1 failure, 130 Ctrl-C."""

import logging
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import tyro

from transformer import cluster, recipes, rundir
from transformer.commands import COMMANDS
from transformer.commands.seeing import Align, Explain
from transformer.commands.training import Demo, Study, Train
from transformer.commands.using import Evaluate, Score, Translate
from transformer.config import Data
from transformer.errors import LostProcessError, TransformerError, UsageError

log = logging.getLogger("transformer")


def parse(arguments: list[str]) -> Train | Translate | Score | Evaluate | Align | Explain | Study | Demo:
    """The command of these arguments; exits with 2 and a message where they are wrong, with 0 for --help."""
    default: object = tyro.conf.subcommand(name="train")
    if len(arguments) > 1 and arguments[0] == "train" and arguments[1] not in ("-h", "--help"):
        if arguments[1].startswith("-"):
            raise UsageError("the recipe comes first: transformer train RECIPE [options]")
        _, settings = recipes.find(arguments[1])
        default = tyro.conf.subcommand(name="train", default=Train(tyro.MISSING, config=settings))
    union: Any = Annotated[Train, default]
    for name, command in list(COMMANDS.items())[1:]:
        union = union | Annotated[command, tyro.conf.subcommand(name=name)]
    return tyro.cli(
        union,
        args=arguments,
        prog="transformer",
        description="Attention in translation: train, translate, evaluate.",
        config=(tyro.conf.FlagCreatePairsOff,),
    )


def main(arguments: list[str] | None = None) -> None:
    """Run a command and exit."""
    arguments = sys.argv[1:] if arguments is None else arguments
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    log.setLevel(logging.INFO)
    logging.getLogger("absl").setLevel(logging.ERROR)  # orbax tells what it does
    try:
        command = parse(arguments)
        _set_up_jax(command)
        if isinstance(command, Train | Evaluate):
            cluster.join(command.cluster)
        command()
    except TransformerError as error:
        print(f"transformer: {error}", file=sys.stderr, flush=True)
        if isinstance(error, LostProcessError):
            os._exit(error.exit_code)  # an orderly end would wait for those that are gone
        sys.exit(error.exit_code)
    except BrokenPipeError:  # such as `transformer translate ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        print(f"transformer: {error.strerror or error}: {error.filename or 'output'}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("transformer: interrupted", file=sys.stderr)
        sys.exit(130)


def _set_up_jax(command: object) -> None:
    """Settings of the whole process, made here alone and never on import."""
    import jax

    data = command.config.data if isinstance(command, Train) else Data()
    if isinstance(command, Translate | Score | Evaluate | Align | Explain):
        data = rundir.read_config(Path(command.run)).data
    jax.config.update("jax_compilation_cache_dir", str(Path(data.cache).expanduser() / "xla"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
    jax.config.update("jax_numpy_rank_promotion", "raise")
