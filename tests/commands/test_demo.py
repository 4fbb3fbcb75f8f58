"""The demo on a recipe of seconds: scores, translations, alignment, pictures."""

import dataclasses

import pytest

from tests.conftest import untrained
from transformer import recipes
from transformer.commands.demo import Demo


def test_the_demo_ends_with_scores_translations_and_what_they_looked_at(settings, tmp_path, monkeypatch, capsys):
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
    assert "was moved to" in printed
    assert (tmp_path / "demo-1" / "config.json").read_bytes() == older
