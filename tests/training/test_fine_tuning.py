"""`--init-from`: which runs may be the origin, and what the log says."""

import dataclasses
import logging

import pytest

from tests.conftest import tiny, toy, untrained
from tests.training.test_loop import final, with_training
from transformer.alignment.links import Rule
from transformer.api import load
from transformer.config import Guided, Schedule, Tokenizer
from transformer.errors import TransformerError, UsageError
from transformer.models.build import split
from transformer.storage.run import Run
from transformer.tasks.translation.prepare import prepare
from transformer.training import logger as logbook
from transformer.training.fine_tuning import check_settings, check_shapes, take_over
from transformer.training.run import train


@pytest.fixture(scope="module")
def both(corpora, tmp_path_factory):
    """Settings with a vocabulary for each side, and those with one, each with a run that never learned."""
    found = {}
    for joint in (False, True):
        folder = tmp_path_factory.mktemp("joint" if joint else "separate")
        settings = toy(corpora, folder / "cache")
        tokenizer = dataclasses.replace(settings.tokenizer, joint=joint)
        settings = dataclasses.replace(settings, tokenizer=tokenizer, model=tiny(tie="none"))
        found[joint] = settings, untrained(settings, folder / "parent")
    return found


def translating(settings, *languages):
    return dataclasses.replace(settings, data=dataclasses.replace(settings.data, languages=languages))


@pytest.mark.parametrize("languages", [("yy", "xx"), ("yy", "zz"), ("zz", "xx")])
def test_a_vocabulary_does_not_fit_the_language_of_the_other_side(both, languages):
    settings, parent = both[False]
    with pytest.raises(
        UsageError, match=r"translates xx to yy .* this run .. to ..: .*Give --data.languages xx yy, or"
    ):
        check_settings(translating(settings, *languages), parent)
    check_settings(settings, parent)
    check_settings(translating(settings, "xx2", "yy2"), parent)  # the same languages, under other names


def test_one_vocabulary_for_both_sides_serves_either_direction(both):
    settings, parent = both[True]
    check_settings(translating(settings, "yy", "xx"), parent)


def test_a_run_without_a_checkpoint_is_refused_before_anything_is_written(both, tmp_path):
    settings, parent = both[True]
    (tmp_path / "parent").mkdir()
    (tmp_path / "parent" / "config.json").write_bytes(Run(parent).config.read_bytes())
    with pytest.raises(UsageError, match="holds no checkpoint yet"):
        train(settings, tmp_path / "run", "toy", init_from=tmp_path / "parent")
    assert not (tmp_path / "run").exists()


def test_other_shapes_are_refused_before_anything_is_written(both, tmp_path):
    settings, parent = both[True]
    wide = dataclasses.replace(settings, model=tiny(tie="none", feedforward=48))
    with pytest.raises(UsageError, match=r"feedforward.* same --model settings"):
        train(wide, tmp_path / "run", "toy", init_from=parent)
    assert not (tmp_path / "run").exists()
    check_shapes(prepare(settings, parent), parent)


def test_the_log_names_the_run_the_checkpoint_and_other_languages(both, tmp_path, caplog):
    settings, parent = both[True]
    prepared = prepare(settings, parent)
    _, fresh = split(prepared.build_model())
    with caplog.at_level(logging.INFO):
        take_over(fresh, parent, settings, prepared.identity)
    assert f"starting from the parameters of {parent}: step 1, the best validated" in caplog.text
    assert "translates" not in caplog.text
    take_over(fresh, parent, translating(settings, "yy", "xx"), prepared.identity)
    assert f"{parent} translates xx to yy, this run yy to xx: the vocabularies are those of {parent}" in caplog.text


def test_a_tokenizer_that_changed_meanwhile_is_refused(both, tmp_path):
    settings, parent = both[True]
    prepared = prepare(dataclasses.replace(settings, tokenizer=Tokenizer(kind="word", vocabulary=20)), None)
    _, fresh = split(prepared.build_model())
    with pytest.raises(TransformerError, match="has a different tokenizer now"):
        take_over(fresh, parent, settings, prepared.identity)


@pytest.mark.slow
def test_a_short_fine_tuning_with_a_long_warm_up_is_not_called_untrained(settings, trained, tmp_path, caplog):
    """The rate climbs linearly: after 2 of 1,000 updates it is 2/1000 of the peak."""
    short = dataclasses.replace(
        with_training(settings, steps=2, validate_every=2), schedule=Schedule(peak=1e-3, warmup=1000)
    )
    with caplog.at_level(logging.INFO):
        train(short, tmp_path / "tuned", "toy", init_from=trained)
    assert "hardly learned" not in caplog.text
    said = "stopped at 2 of --schedule.warmup=1000 updates: the learning rate reached 2.0e-06 of 1.0e-03"
    assert said in caplog.text
    assert f"starting from the parameters of {trained}: step " in caplog.text
    assert final(tmp_path / "tuned")


@pytest.mark.slow
def test_a_run_is_guided_by_its_own_links(corpora, both, tmp_path):
    """Links are computed, a head is guided, and links are read again. A pair without links guides nothing and is not an
    error."""
    settings, parent = both[True]
    pairs = len((corpora / "train.xx").read_text().splitlines())
    for name, lines in (("links", ["0-0"] * (pairs - 1) + [""]), ("short", ["0-0"] * 4)):
        (tmp_path / name).write_text("".join(line + "\n" for line in lines))
    guided = dataclasses.replace(settings.task, guided=Guided(weight=0.5, context="full"))

    def begin(links, run):
        data = dataclasses.replace(settings.data, alignments=str(tmp_path / links))
        training = dataclasses.replace(settings.training, steps=2, validate_every=2)
        new = dataclasses.replace(settings, data=data, task=guided, training=training)
        train(new, tmp_path / run, "toy", init_from=parent)

    begin("links", "run")
    (record,) = (r for r in logbook.read(Run(tmp_path / "run").metrics) if r["kind"] == "train")
    assert record["guiding"] > 0
    model = load(tmp_path / "run")
    assert model.default_rule() == Rule(1, 0, by="full-context")
    assert model.links(["ba de"], ["DE BA"])[0] is not None
    with pytest.raises(TransformerError, match=f"short has 4 lines for .*|{pairs} lines but .*short has 4"):
        begin("short", "other")
