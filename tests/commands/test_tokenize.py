"""Pieces, ids and places of a run's text."""

import dataclasses
import json

import pytest

from tests.conftest import toy, untrained
from transformer.commands.tokenize import Tokenize
from transformer.config import Tokenizer
from transformer.errors import UsageError


@pytest.fixture(scope="module")
def runs(corpora, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenize")
    settings = toy(corpora, folder / "cache")
    bpe = dataclasses.replace(settings, tokenizer=Tokenizer(kind="byte_bpe", vocabulary=300))
    return untrained(settings, folder / "word"), untrained(bpe, folder / "bpe")


def test_tables_lines_and_objects(runs, tmp_path, capsys):
    words, bpe = runs
    source = tmp_path / "in"
    source.write_text("ba  xx\n\n")
    Tokenize(str(words), str(source))()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "ba  xx"
    assert lines[1].split()[::2] == ["ba", "0-2"]
    assert lines[2].split() == ["<unk>", "1", "4-6"]
    Tokenize(str(words), str(source), format="text")()
    assert capsys.readouterr().out == "ba <unk>\n\n"
    Tokenize(str(bpe), str(source), format="json", steps=True)()
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first["text"] == "ba  xx"
    assert "".join(first["pieces"]) == "baĠĠxx"
    assert first["steps"][0][0] == ["b", "a"]
    assert [len(first[name]) for name in ("ids", "offsets")] == [len(first["pieces"])] * 2
    assert second["ids"] == second["steps"] == []
    Tokenize(str(bpe), str(source), side="target", steps=True)()
    assert "  b a\n" in capsys.readouterr().out


def test_steps_need_merges(runs):
    with pytest.raises(UsageError, match=r"has --tokenizer\.kind=word, which has none"):
        Tokenize(str(runs[0]), steps=True).check()
    with pytest.raises(UsageError, match="give table or json"):
        Tokenize(str(runs[1]), steps=True, format="text").check()
