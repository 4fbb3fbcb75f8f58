"""The help of every command: complete, in sentences, in the width of the terminal, the most important first."""

import contextlib
import importlib
import io
import itertools
import re

import pytest
import tyro

from transformer import cli, recipes
from transformer.commands import help
from transformer.commands.table import CHANGED_FIRST, COMMANDS, RECIPE_FIRST
from transformer.config import Classifier, Transformer
from transformer.models.families import FAMILIES
from transformer.tasks.table import TASKS


def command(name):
    module, options = COMMANDS[name].options.split(":")
    return getattr(importlib.import_module(f"transformer.commands.{module}"), options)


def defaults(name):
    """The dataclass of a command, or an instance with the settings of a recipe."""
    cls = command(name)
    return cls("", config=recipes.find("multi30k_ende_bahdanau")[1]) if name in RECIPE_FIRST else cls


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_lists_what_the_parser_accepts(name, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    cls, given = command(name), defaults(name)
    chosen = {} if given is cls else {"default": given}
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.suppress(SystemExit):
        tyro.cli(cls, args=["--help"], config=(tyro.conf.FlagCreatePairsOff,), **chosen)
    theirs = set(re.findall(r"^(?:│ |  )(--[a-z][a-z0-9.-]+)", out.getvalue(), re.MULTILINE))
    assert theirs == {one.name for one in help.options(given) if not one.positional}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_help_is_a_sentence_of_words(name):
    settings = help.options(defaults(name))
    if name == "train":
        parts = [family() for label, family in FAMILIES.items() if label not in ("composed", "classifier")]
        parts.append(Classifier(encoder=Transformer()))
        settings += [one for part in (*parts, *(task() for task in TASKS.values())) for one in help.options(part)]
    for one in settings:
        assert re.match(r"(?!-)[A-Z][^.:;]* [^.:;]+[.:;,]", one.help), (one.name, one.help)
        assert one.help.endswith("."), (one.name, one.help)
        # No value of the option before a colon, such as "text: the best translation".
        assert one.help.split(":")[0] not in one.choices


@pytest.mark.parametrize("width", [60, 80, 100])
def test_text_fills_the_lines_of_the_terminal(monkeypatch, capsys, width):
    monkeypatch.setenv("COLUMNS", str(width))
    for name in COMMANDS:
        words = [*name.split(), *(["multi30k_ende_bahdanau"] if name in RECIPE_FIRST else []), "--help"]
        with pytest.raises(SystemExit):
            cli.parse(words)
        lines = capsys.readouterr().out.splitlines()
        for line, following in itertools.pairwise(lines):
            assert len(line) <= width or len(line.split()) <= 2, line  # a word that is longer than the column
            indent = len(line) - len(line.lstrip())
            same = line.strip() and following.strip() and len(following) - len(following.lstrip()) == indent
            if same and not following.lstrip().startswith("-") and indent in (0, help.INDENT):
                assert len(line) + 1 + len(following.split()[0]) > width, (line, following)


def test_a_recipe_comes_first_and_so_do_the_settings_that_are_changed_most():
    text = help.render("train", defaults("train"), CHANGED_FIRST, cli.PLUGIN_HELP)
    assert text.startswith("usage: transformer train RECIPE [options]\n")
    flags = re.findall(r"^  (--\S+)", text, re.MULTILINE)
    assert flags[: len(CHANGED_FIRST)] == list(CHANGED_FIRST)
    assert len(CHANGED_FIRST) == 10
    short, complete = (" ".join(part.split()) for part in text.split("\noptions\n"))
    assert "--batching.tokens INT Token budget of an update. (default: " in short
    assert "--batching.tokens INT Token budget of an update: rows x longest side" in complete
    assert "\ndata.filter: Which training pairs are left out" in text


def test_defaults_are_those_of_the_recipe():
    found = {one.name: one for one in help.options(defaults("train"))}
    assert found["--model.cell"].takes == "{lstm,gru}"
    assert found["--model.cell"].default == "(default: gru)"
    assert found["--tokenizer.joint"].takes == "{True,False}"
    assert (found["--resume"].takes, found["--resume"].default) == ("", "")
    assert found["--data.languages"].takes == "STR STR"
    assert found["--data.also"].takes == "STR ..."
    assert found["--data.also"].default == ""
    assert {one.name: one for one in help.options(command("score"))}["--source"].default == "(required)"
    assert help.render("runs", command("runs")).startswith("usage: transformer runs [FOLDER] [options]\n")
    beam = next(one for one in help.options(command("translate")) if one.name == "--beam")
    assert (beam.takes, beam.default) == ("INT", "(default: the run's own setting)")


def test_bold_only_in_a_terminal(monkeypatch):
    assert "\033" not in help.render("demo", command("demo"))
    monkeypatch.setattr("sys.stdout", type("Terminal", (io.StringIO,), {"isatty": lambda _: True})())
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\033[1m--run\033[0m" in help.render("demo", command("demo"))
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\033" not in help.render("demo", command("demo"))
