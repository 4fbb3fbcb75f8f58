"""The demo on a recipe of seconds: scores, translations, alignment, pictures."""

import dataclasses
import json
import shlex
import sys
from pathlib import Path

import pytest

from tests.browser import data_of
from tests.conftest import untrained
from transformer import cli, recipes
from transformer.commands.demo import Demo
from transformer.commands.options import program


def test_the_demo_ends_with_scores_translations_and_their_attention(settings, tmp_path, monkeypatch, capsys):
    data = dataclasses.replace(settings.data, source="grammar", languages=("en", "de"), max_length=32)
    batching = dataclasses.replace(settings.batching, tokens=512)
    tiny = dataclasses.replace(settings, data=data, batching=batching)
    monkeypatch.setattr(recipes, "find", lambda name: (name, tiny))
    run = tmp_path / "demo"
    with monkeypatch.context() as patch:
        patch.setattr("transformer.training.run.train", lambda *_: (_ for _ in ()).throw(RuntimeError("begins")))
        with pytest.raises(RuntimeError, match="begins"):
            Demo(str(run))()
    assert "was moved to" not in capsys.readouterr().out
    untrained(tiny, run)
    older = (run / "config.json").read_bytes()
    Demo(str(run))()
    printed = capsys.readouterr().out
    for expected in ("test: 5 sentences", "unseen (constructions", "translation  ", "AER 0.", "precision"):
        assert expected in printed
    names = {path.name for path in (run / "report" / "alignment").iterdir()}
    assert names >= {"attention.html", "heatmap-1.png", "cross-1.png", "aer.json"}
    assert "heatmap-2.png" not in names
    page = data_of(run / "report" / "alignment" / "attention.html")
    assert len(page["sentences"]) == 5, "the whole test set, which is smaller than 8"
    assert any(entry["gold"] for entry in page["sentences"])
    about = json.loads((run / "report" / "alignment" / "about.json").read_text())
    opened = {name: "mean" if about["rule"][name] is None else str(about["rule"][name]) for name in ("layer", "head")}
    assert page["start"] == opened | {"kind": "cross"}
    _, last = printed.split("Open:\n")
    paths, commands = (part.splitlines() for part in last.split("\n\nTry"))
    assert all(Path(line.split()[0]).is_file() for line in paths)
    for line in commands[1:]:  # they work as printed
        words = shlex.split(line.split("| ")[-1])
        assert words[0] == "transformer"
        cli.parse(words[1:]).check()
    assert "was moved to" in printed
    assert (tmp_path / "demo-1" / "config.json").read_bytes() == older


def test_printed_commands_begin_as_this_one_was_called(tmp_path, monkeypatch):
    script = tmp_path / "my bin" / "transformer"
    script.parent.mkdir()
    script.touch(mode=0o755)
    called = {"python -m transformer": "/any/transformer/__main__.py", "a path": str(script), "a name": str(script)}
    expected = {
        "python -m transformer": f"{shlex.quote(sys.executable)} -m transformer",
        "a path": shlex.quote(str(script)),
        "a name": "transformer",
    }
    for how, argument in called.items():
        monkeypatch.setattr(sys, "argv", [argument])
        monkeypatch.setenv("PATH", str(script.parent) if how == "a name" else "")
        assert program() == expected[how]
