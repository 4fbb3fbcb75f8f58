"""`transformer completion`: the completion of commands, options and their values, as a script for a shell.

The script is fixed text, so that pressing Tab does not start Python.
"""

import importlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import tyro

from transformer import recipes
from transformer.commands import help
from transformer.commands.options import Command
from transformer.commands.table import COMMANDS, RECIPE_FIRST
from transformer.models.families import FAMILIES

Shell = Literal["bash", "zsh", "fish"]


@dataclass(frozen=True)
class Completion(Command):
    """Print the script with which a shell completes commands, options and their values with Tab.

    For bash add `source <(transformer completion bash)` to ~/.bashrc; for zsh add `source <(transformer completion
    zsh)` to ~/.zshrc; for fish run `transformer completion fish > ~/.config/fish/completions/transformer.fish`.
    """

    shell: Annotated[tyro.conf.Positional[Shell], tyro.conf.arg(metavar="SHELL")]
    """One of bash, zsh, fish."""

    def execute(self) -> None:
        """Print the script."""
        print(script(self.shell))


MODELS = ("--encoder", "--decoder")
"""Settings of a family that are models themselves: a recipe chooses them, and no option."""


def script(shell: Shell) -> str:
    """The script of a shell."""
    if shell == "fish":
        return _fish()
    begin = "" if shell == "bash" else ZSH
    return begin + _bash()


ZSH = """\
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
autoload -Uz bashcompinit && bashcompinit
"""

BASH = """\
_transformer() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD - 1]}} command=${{COMP_WORDS[1]}}
    local at=2 words=""
    if [[ " {groups} " == *" $command "* ]]; then
        command="$command ${{COMP_WORDS[2]}}" at=3
    fi
    if ((COMP_CWORD == 1)); then
        words="{first}"
    elif ((COMP_CWORD < at)); then
        case ${{COMP_WORDS[1]}} in
{second}
        esac
    else
        case "$command $before" in
{values}
        *)
            case $command in
{options}
            esac
            ;;
        esac
    fi
    COMPREPLY=($(compgen -W "$words" -- "$word"))
}}
complete -o bashdefault -o default -F _transformer transformer"""
"""If no word fits, the shell completes file names: runs, recipes, text."""


def _bash() -> str:
    first, second = _words()
    values, options = [], []
    for name in COMMANDS:
        known = _options(name)
        flags = " ".join(option.name for option in known if not option.positional)
        options.append(f"            {_quoted(name)}) words={_quoted(flags)} ;;")
        values += [
            f"        {_quoted(f'{name} {option.name}')}) words={_quoted(' '.join(option.choices))} ;;"
            for option in known
            if option.takes
        ]
        values.append(f"        {_quoted(f'{name} {name.split()[-1]}')}) words={_quoted(' '.join(_begin(name)))} ;;")
    return BASH.format(
        first=" ".join(first),
        groups=" ".join(second),
        second="\n".join(f"        {group}) words={_quoted(' '.join(names))} ;;" for group, names in second.items()),
        values="\n".join(values),
        options="\n".join(options),
    )


def _fish() -> str:
    first, second = _words()
    lines = [_fish_line("__fish_use_subcommand", f"-f -a {_quoted(' '.join(first))}")]
    for group, names in second.items():
        lines.append(_fish_line(_fish_after(group), f"-f -a {_quoted(' '.join(names))}"))
    for name in COMMANDS:
        after = _fish_after(name)
        if begin := _begin(name):
            lines.append(_fish_line(after, f"-a {_quoted(' '.join(begin))}"))
        for option in _options(name):
            if not option.positional:
                words = f" -x -a {_quoted(' '.join(option.choices))}" if option.choices else " -r" * bool(option.takes)
                about = f"-l {option.name[2:]} -d {_quoted(option.summary)}"
                lines.append(_fish_line(after, about + words))
    return "\n".join(lines)


def _fish_after(name: str) -> str:
    return "; and ".join(f"__fish_seen_subcommand_from {word}" for word in name.split())


def _fish_line(condition: str, rest: str) -> str:
    return f"complete -c transformer -n {_quoted(condition)} {rest}"


def _words() -> tuple[list[str], dict[str, list[str]]]:
    """The first words of commands, and the second words of those that have two."""
    second: dict[str, list[str]] = {}
    for group, *rest in (name.split() for name in COMMANDS):
        if rest:
            second.setdefault(group, []).extend(rest)
    return list(dict.fromkeys(name.split()[0] for name in COMMANDS)), second


def _begin(name: str) -> Iterable[str]:
    """The words that may follow the name of a command, in addition to files and folders."""
    return recipes.names() if name in RECIPE_FIRST else ("bash", "zsh", "fish") if name == "completion" else ()


def _options(name: str) -> list[help.Option]:
    """The options of a command; if they depend on a recipe, those of every model family."""
    module, options = COMMANDS[name].options.split(":")
    command: Any = getattr(importlib.import_module(f"transformer.commands.{module}"), options)
    every = help.options(command)
    if name in RECIPE_FIRST:
        own = [one for family in FAMILIES.values() for one in help.options(family) if one.name not in MODELS]
        every += [one._replace(name=f"--model.{one.name[2:]}") for one in own]
    return list({option.name: option for option in every}.values())


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
