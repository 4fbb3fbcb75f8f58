"""The command line: `transformer COMMAND ...`. Exit codes: 2 usage, 1 failure, 130 stopped (Ctrl-C, SIGTERM).

Importing this module imports no JAX. Only the module of the command that was named is imported, and what computes is
imported when the command is executed.
"""

import dataclasses
import difflib
import importlib
import logging
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from transformer import plugins
from transformer.commands.table import CHANGED_FIRST, COMMANDS, RECIPE_FIRST
from transformer.errors import InterruptedRunError, TransformerError, UsageError

if TYPE_CHECKING:
    from transformer.commands.options import Command

log = logging.getLogger("transformer")

HELP, VERSION = ("-h", "--help"), "--version"

PLUGIN_HELP = """\
--plugin FILE (repeatable): a Python file with scores, windows, normalizers, model families or tasks of your own."""


def main(arguments: Sequence[str] | None = None, before_computing: Callable[[], None] | None = None) -> None:
    """Run a command and exit.

    Args:
        arguments: those of the process by default.
        before_computing: called once it is known that a command computes, before its options are parsed. It may restart
        the process, and parsing them twice takes tenths of a second.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    command = None
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    log.setLevel(logging.INFO)
    logging.getLogger("absl").setLevel(logging.CRITICAL)  # orbax logs what it does; its failures are raised too
    try:
        files, rest = plugins.split(given)
        name = command_name(rest)
        if before_computing and COMMANDS[name].computes and not set(HELP) & set(rest):
            before_computing()
        plugins.load(files)
        command = parse(rest)
        command.check()
        if COMMANDS[name].uses_jax:
            _set_up_jax()
        if (cluster := getattr(command, "cluster", None)) is not None:
            from transformer.distributed import processes

            processes.join(cluster)
        command.execute()
        sys.stdout.flush()
    except BaseException as error:
        code = _end(error, command.memory if command else "")
        if code and _joined() and not isinstance(error, InterruptedRunError):
            # An orderly end waits for the other processes of the job, and they may be waiting for this one.
            os._exit(code)
        sys.exit(code)


def parse(arguments: Sequence[str]) -> "Command":
    """The command of these arguments, its plugins loaded.

    Prints and exits with 0 for --help and --version; prints and exits with 2 if options are wrong. Raises UsageError
    for an unknown command, recipe or plugin.
    """
    files, rest = plugins.split(list(arguments))
    plugins.load(files)
    name = command_name(rest)
    rest = rest[len(name.split()) :]

    import tyro

    module, options = COMMANDS[name].options.split(":")
    command: Any = getattr(importlib.import_module(f"transformer.commands.{module}"), options)
    chosen: dict[str, Any] = {}
    if name in RECIPE_FIRST and rest and rest[0] not in HELP:
        chosen["default"] = command(tyro.MISSING, config=_settings(name, rest[0]))
    if set(HELP) & set(rest):
        from transformer.commands import help

        first = CHANGED_FIRST if name in RECIPE_FIRST else ()
        print(help.render(name, chosen.get("default", command), first, PLUGIN_HELP))
        sys.exit(0)
    parsed: Any = tyro.cli(
        command, args=rest, prog=f"transformer {name}", config=(tyro.conf.FlagCreatePairsOff,), **chosen
    )
    if chosen and parsed.smoke:
        parsed = dataclasses.replace(parsed, config=_shrunk(chosen["default"].config, parsed.config, rest))
    return parsed


def command_name(arguments: Sequence[str]) -> str:
    """The command that these arguments begin with. Prints and exits with 0 for --help and --version; raises UsageError
    if there is no such command."""
    for count in (2, 1):
        if " ".join(arguments[:count]) in COMMANDS:
            return " ".join(arguments[:count])
    group = [name for name in COMMANDS if arguments and name.startswith(f"{arguments[0]} ")]
    word = next(iter(arguments[1:] if group else arguments), "")
    if word == VERSION:
        print(version())
        sys.exit(0)
    if word in HELP:
        print(usage(group or list(COMMANDS)))
        sys.exit(0)
    if not word:
        raise UsageError(f"a command is missing\n\n{usage(group or list(COMMANDS))}")
    if word.startswith("-"):
        raise UsageError(f"the command comes first, not {word}: see transformer --help")
    words = [name.removeprefix(f"{arguments[0]} ") if group else name for name in group or COMMANDS]
    near = difflib.get_close_matches(word, words, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise UsageError(f"unknown command {word!r}: {hint}there are {', '.join(words)}")


def usage(names: Sequence[str]) -> str:
    """The text of `transformer --help` for these commands."""
    width = max(map(len, names)) + 2
    return "\n".join(
        [
            "usage: transformer COMMAND [options]",
            "",
            "Attention in translation: train, translate, evaluate.",
            "",
            "commands:",
            *(f"  {name:{width}}{COMMANDS[name].summary}" for name in names),
            "",
            "options of every command:",
            "  --help         Show the options of the command.",
            "  --plugin FILE  A Python file with scores, windows, normalizers, model families or tasks; repeatable.",
            "",
            "`transformer --version` prints the version. A trained run is a directory; every command after train needs",
            "only that.",
            "",
            "also:",
            "  source <(transformer completion bash)   complete commands and options with Tab (zsh and fish too)",
            "  tensorboard --logdir runs               show curves of all runs (pip install tensorboard)",
        ]
    )


def version() -> str:
    """Name and version of the package, and of the libraries that its results depend on most."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    package = "attention-transformer"
    versions = {}
    for name in (package, "jax", "flax"):
        try:
            versions[name] = installed(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
    return f"{package} {versions.pop(package)} ({', '.join(f'{name} {value}' for name, value in versions.items())})"


def _settings(name: str, recipe: str) -> Any:
    """The settings of a recipe: the defaults of a command's options. Raises UsageError."""
    from transformer import recipes

    if recipe.startswith("-"):
        raise UsageError(f"the recipe comes first: transformer {name} RECIPE [options]")
    return recipes.find(recipe)[1]


def _shrunk(recipe: Any, given: Any, words: Sequence[str]) -> Any:
    """The settings under --smoke; the log names what it changes."""
    from transformer import recipes

    small = recipes.smoke_rest(recipe, given, words)
    log.info("--smoke sets %s", recipes.differences(given, small))
    return small


def _end(error: BaseException, memory: str) -> int:
    """Report what ended the command and flush buffered output; returns the exit code."""
    code = 1
    with suppress(OSError):  # standard error may be a file on the disk that is full
        code = _tell(error, memory)
        sys.stderr.flush()
    try:
        sys.stdout.flush()
    except OSError as failure:
        if not isinstance(error, OSError):  # otherwise it is the same one
            code = _tell(failure, memory)
        _discard_output()
    return code


def _discard_output() -> None:
    """Discard the rest of the output, so that Python does not fail on it at exit."""
    with suppress(OSError):  # no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _tell(error: BaseException, memory: str) -> int:
    """Report what ended the command on one line; returns its exit code. `memory`: what to do if memory is full."""
    match error:
        case SystemExit():
            return error.code if isinstance(error.code, int) else 0
        case TransformerError():
            print(f"transformer: {error}", file=sys.stderr)
            return error.exit_code
        case BrokenPipeError():  # such as `transformer translate ... | head`
            return 1
        case OSError():
            print(f"transformer: {error.strerror or error}: {error.filename or 'output'}", file=sys.stderr)
            return 1
        case MemoryError() | RuntimeError() if _memory_is_full(error):
            print(f"transformer: memory is full ({_reason(error)}){memory and f': {memory}'}", file=sys.stderr)
            return 1
        case RuntimeError() if _joined() and isinstance(error, sys.modules["jax"].errors.JaxRuntimeError):
            reason = _reason(error)
            print(f"transformer: another process of the job ended or cannot be reached ({reason})", file=sys.stderr)
            return 1
        case KeyboardInterrupt():
            print("transformer: interrupted", file=sys.stderr)
            return 130
        case _ if _joined():
            traceback.print_exception(error)
            return 1
        case _:
            raise error


def _memory_is_full(error: BaseException) -> bool:
    """Whether Python, NumPy or XLA found no memory."""
    return isinstance(error, MemoryError) or any(sign in str(error) for sign in ("RESOURCE_EXHAUSTED", "bad_alloc"))


def _reason(error: BaseException) -> str:
    """The first line of a message, shortened."""
    return (str(error) or type(error).__name__).splitlines()[0][:200]


def _joined() -> bool:
    """Whether this process is one of several in a job."""
    processes = sys.modules.get("transformer.distributed.processes")
    return processes is not None and bool(processes.is_distributed())


def _set_up_jax() -> None:
    """Settings of the whole process, made only here and never on import."""
    import jax

    from transformer.distributed.compilation import use_compilation_cache

    use_compilation_cache()
    jax.config.update("jax_numpy_rank_promotion", "raise")
