"""The measurements measure what they say."""

import json
import math
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.conftest import tiny
from transformer import config
from transformer.models.build import create

THROUGHPUT = Path(__file__).parent.parent.parent / "experiments" / "throughput"


def operations(jaxpr, times=1):
    """Operations of all matrix products of a traced function, scans multiplied out: 2 for each multiplication."""
    total = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            depth = math.prod(equation.invars[0].aval.shape[axis] for axis in contracted)
            total += 2 * times * depth * math.prod(equation.outvars[0].aval.shape)
        again = times * equation.params.get("length", 1) if equation.primitive.name == "scan" else times
        inner = (getattr(value, "jaxpr", value) for value in equation.params.values())
        total += sum(operations(one, again) for one in inner if hasattr(one, "eqns"))
    return total


def rnn(score, window="global", **changes):
    attention = config.Attention(score=score, window=window, hidden=5)
    return config.Rnn(**({"embedding": 6, "width": 8, "attention": attention} | changes))


@pytest.mark.parametrize(
    "model",
    [
        tiny(encoder_layers=3),
        tiny(encoder_layers=3, activation="swiglu"),
        rnn("general"),
        rnn("concat", "local_p", input_feeding=False, bidirectional=True, encoder_layers=2, readout=7),
        rnn("none", cell="gru", encoder_layers=2, decoder_layers=2),
        rnn("additive", decoder="bahdanau", cell="gru", bidirectional=True),
        rnn("none", decoder="bahdanau", decoder_layers=2),
        rnn("cosine", bidirectional=True, encoder_width=4),
        config.Composed(encoder=tiny(encoder_layers=3), decoder=rnn("general", decoder_layers=2)),
        config.Composed(encoder=rnn("none", bidirectional=True), decoder=tiny(decoder_layers=3)),
    ],
    ids=lambda model: f"{type(model).__name__} {model.attention.score}",
)
def test_useful_operations_are_those_of_the_traced_model_without_padding(model):
    net = create(model, 50, 50, 1)
    lengths = [(5, 7), (3, 4)]

    def forward(source, target):
        hidden, _ = net.decode(net.encode(source), target)
        return net.output(hidden)

    expected = 0
    source, target = np.zeros((2, 9), np.int32), np.zeros((2, 9), np.int32)
    for row, (s, t) in enumerate(lengths):
        source[row, :s], target[row, :t] = 5, 6
        expected += operations(jax.make_jaxpr(forward)(jnp.full((1, s), 5), jnp.full((1, t), 6)).jaxpr)
    assert 2 * model.multiplications((source != 0).sum(1), (target != 0).sum(1), 50) == expected


def compare(*arguments):
    command = [sys.executable, str(THROUGHPUT / "compare.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def prints(folder, name, speeds):
    """A command that prints one of the speeds after the other, call by call, below other output."""
    script = folder / f"{name}.py"
    script.write_text(
        "import json, pathlib\n"
        f"calls = pathlib.Path({str(folder / (name + '.calls'))!r})\n"
        "calls.touch()\n"
        "n = len(calls.read_text())\n"
        "calls.write_text('x' * (n + 1))\n"
        f"print('noise'); print(json.dumps({{'target_tokens_per_s': {speeds}[n]}}))\n"
    )
    return f"{name}={sys.executable} {script}"


def test_compare_alternates_drops_the_first_run_and_takes_medians(tmp_path):
    sides = prints(tmp_path, "a", [1, 300, 900, 330]), prints(tmp_path, "b", [7, 100, 120, 110])
    done = compare("--runs", "3", "--save", str(tmp_path / "kept.json"), *sides)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[2:] == ["| a | 330 | 300 | 900 | 3.00 |", "| b | 110 | 100 | 120 | 1.00 |"]
    order = [line.split(":")[0] for line in done.stderr.splitlines()]
    assert order == ["b warm-up", "a warm-up", "a 1", "b 1", "b 2", "a 2", "a 3", "b 3"]
    kept = json.loads((tmp_path / "kept.json").read_text())
    assert [line["target_tokens_per_s"] for line in kept["runs"]["a"]] == [300, 900, 330]


def test_compare_refuses_what_cannot_be_compared(tmp_path):
    side = prints(tmp_path, "a", [1, 2])
    assert "two or more" in compare(side).stderr
    (tmp_path / "there.json").touch()
    assert "exists" in compare("--save", str(tmp_path / "there.json"), side, side.replace("a=", "b=")).stderr
    failed = compare("--runs", "1", side, f"b={sys.executable} -c 'raise SystemExit(3)'")
    assert failed.returncode == 1
    assert "b failed with exit code 3" in failed.stderr


@pytest.mark.slow
def test_startup_and_speed_of_a_recipe_are_measured(tmp_path):
    for script, arguments in {"startup.py": ["--smoke"], "ours.py": ["--steps", "2", "--warm", "1"]}.items():
        command = [sys.executable, str(THROUGHPUT / script), "demo", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        printed = json.loads(done.stdout.splitlines()[-1])
        if script == "startup.py":
            assert 0 < printed["warm"]["first_update_s"] < printed["cold"]["first_update_s"]
        else:
            assert printed["target_tokens_per_s"] > 0
            assert 0 < printed["share_of_peak"] < 1
