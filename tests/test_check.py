"""Settings made in Python have the types that the command line would have given them."""

import dataclasses

import pytest

from transformer import check, recipes
from transformer.config import Attention, Config, Rnn
from transformer.errors import UsageError
from transformer.models.config import ModelConfig
from transformer.tasks.task import Task


def test_settings_of_every_recipe_fit():
    for name in recipes.names():
        check.everything(recipes.find(name)[1])


@pytest.mark.parametrize(
    ("part", "name", "value", "wanted"),
    [
        ("data", "languages", ["en", "de"], r"tuple\[str, str\]"),
        ("data", "languages", ("en",), r"tuple\[str, str\]"),
        ("data", "also", ("one", "two", 3), r"tuple\[str, \.\.\.\]"),
        ("data", "weights", (1.0, 2, "x"), r"tuple\[float, \.\.\.\]"),
        ("data", "test", None, "str"),
        ("training", "steps", "5", "int"),
        ("training", "steps", 5.0, "int"),
        ("training", "steps", True, "int"),
        ("task", "label_smoothing", None, "float"),
        ("task", "label_smoothing", False, "float"),
        ("training", "precision", "fp8", "Literal"),
        ("task", "metric", 3, "Literal"),
        ("", "model", None, "ModelConfig"),
        ("", "seed", "x", "int"),
        ("", "data", {}, "Data"),
    ],
)
def test_a_wrong_type_is_named_with_its_flag(part, name, value, wanted):
    config = Config()
    if part:
        inner = dataclasses.replace(getattr(config, part), **{name: value})
        config = dataclasses.replace(config, **{part: inner})
    else:
        config = dataclasses.replace(config, **{name: value})
    flag = f"--{part}{'.' * bool(part)}{name}".replace("_", "-")
    with pytest.raises(UsageError, match=f"^{flag} is .*: it must be .*{wanted}"):
        check.everything(config)


def test_an_int_serves_as_a_float():
    config = Config()
    task = dataclasses.replace(config.task, label_smoothing=0)
    check.everything(dataclasses.replace(config, task=task))


def test_noam_needs_a_model_with_a_width():
    @dataclasses.dataclass(frozen=True)
    class Shapeless(ModelConfig):
        """A family without a width."""

    class AnyFamily(Task):
        """A task for any family."""

    schedule = dataclasses.replace(Config().schedule, name="noam")
    check.everything(Config(schedule=schedule))
    config = Config(schedule=schedule, model=Shapeless(), task=AnyFamily())
    with pytest.raises(UsageError, match=r"--schedule\.name=noam follows --model\.width, and a Shapeless has none"):
        check.everything(config)


@pytest.mark.parametrize(
    ("model", "advice"),
    [
        (Rnn(embedding=8, width=16, tie="all", attention=Attention(score="general")), "--model.readout=8"),
        # Without attention the output layer reads the state itself.
        (Rnn(embedding=8, width=16, tie="all", attention=Attention(score="none")), "--model.embedding=16"),
    ],
)
def test_a_tied_output_layer_of_another_width_is_refused_with_an_option_that_helps(model, advice):
    with pytest.raises(UsageError, match=f"give {advice} or --model.tie=none"):
        model.check()
    name, value = advice.removeprefix("--model.").split("=")
    dataclasses.replace(model, **{name: int(value)}).check()
