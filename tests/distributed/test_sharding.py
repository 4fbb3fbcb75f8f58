"""Any mesh gives the results of one device: devices are simulated, each job in its own processes (see `meshes`)."""

import json
import os
import re
import subprocess
import sys
from typing import Any

import jax
import numpy as np
import pytest
from flax import nnx

from tests import meshes
from tests.conftest import tiny
from tests.models.test_gpt import gpt
from transformer import config
from transformer.distributed import sharding as parallel
from transformer.errors import UsageError
from transformer.models.build import create, split
from transformer.models.composed.config import Composed
from transformer.models.rnn.config import Rnn

JOBS = {
    "8 data": ({"data": 8}, 8, 1),
    "8 fsdp": ({"data": 1, "fsdp": 8}, 8, 1),
    "2 data x 4 model": ({"data": 2, "model": 4}, 8, 1),
    "2 data x 2 fsdp x 2 model": ({"data": 2, "fsdp": 2, "model": 2}, 8, 1),
    "2 processes x 4 data": ({"data": 8}, 4, 2),
    "2 processes x 4 fsdp": ({"data": 1, "fsdp": 8}, 4, 2),
}
QUICK = [("transformer", "8 data")]
ALL = [(model, job) for model in ("transformer", "packed", "rnn", "gpt") for job in JOBS]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The results of one device, for each requested model."""
    known = {}

    def of(model):
        if model not in known:
            folder = tmp_path_factory.mktemp(model)
            known[model] = meshes.run(folder, model, {"data": 1}, 1), gradients(folder)
        return known[model]

    return of


def gradients(folder):
    with np.load(folder / "gradients.npz") as file:
        return {name: file[name] for name in file.files}


BYTES = {"f32": 4, "s32": 4, "u32": 4, "pred": 1}


def moved(folder):
    """Bytes that the compiled step moves between devices, by operation."""
    pattern = r"= (.*?) (all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute)(?:-start)?\("
    found = {}
    for shapes, operation in re.findall(pattern, (folder / "step.hlo").read_text()):
        for kind, dims in re.findall(r"(\w+)\[([\d,]*)\]", shapes):
            size = BYTES[kind] * np.prod([int(n) for n in dims.split(",") if n])
            found[operation] = found.get(operation, 0) + int(size)
    return found


@pytest.mark.parametrize(
    ("model", "job"), [case if case in QUICK else pytest.param(*case, marks=pytest.mark.slow) for case in ALL]
)
def test_a_mesh_trains_like_one_device(model, job, alone, tmp_path):
    """With dropout, in pieces. Masks depend on the position in the whole batch, and sums differ only by rounding."""
    result, expected = meshes.run(tmp_path, model, *JOBS[job]), alone(model)
    np.testing.assert_allclose(result["losses"], expected[0]["losses"], rtol=1e-4)
    ours = gradients(tmp_path)
    for name, gradient in expected[1].items():
        difference = np.linalg.norm(ours[name] - gradient)
        assert difference <= 1e-6 * np.linalg.norm(gradient), name
    if job.endswith("data"):
        # Gradients once, and the sums of loss, nll, tokens and sentences; three flags.
        assert moved(tmp_path) == {"all-reduce": 4 * (result["parameters"] + 4 + 3)}


@pytest.mark.parametrize(
    ("mesh", "message"),
    [
        ({"data": 2}, r"--mesh.data=2: .* number of devices, 1"),
        ({"data": -1, "fsdp": -1}, "one of them may be -1"),
        ({"data": 0}, "at least 1"),
        ({"fsdp": 3}, "do not divide"),
    ],
)
def test_impossible_meshes(mesh, message):
    with pytest.raises(UsageError, match=message):
        parallel.make_mesh(config.Mesh(**mesh))


MODEL_AXES = {
    "encoder/attention/query": (None, "fsdp", "model", None),
    "decoder/cross/value": (None, "fsdp", "model", None),
    "decoder/attention/output": (None, "model", None, "fsdp"),
    "decoder/feedforward/inner": (None, "fsdp", "model"),
    "encoder/feedforward/gate": (None, "fsdp", "model"),
    "encoder/feedforward/inner_bias": (None, "model"),
    "encoder/feedforward/outer": (None, "model", "fsdp"),
    "encoder/feedforward/outer_bias": (),
    "encoder/attention_residual/norm/scale": (),
    "embed_source/table": ("model", "fsdp"),
}
RNN_AXES = {
    "encoder/forward/0/input": ("fsdp", None),
    "decoder/stack/cells/0/recurrent": ("fsdp", None),
    "decoder/stack/cells/0/bias": (),
    "decoder/combine": ("fsdp", None),
    "bridge/maps/1": ("fsdp", None),
    "output/bias": ("model",),
    "output/embedding/table": ("model", "fsdp"),
}


@pytest.mark.parametrize(
    ("model", "axes"),
    [
        (tiny(activation="swiglu"), MODEL_AXES),
        (Rnn(embedding=16, width=16, bidirectional=True), RNN_AXES),
        (
            Composed(encoder=tiny(activation="swiglu"), decoder=Rnn(width=16, embedding=16)),
            {f"encoder/{path}": spec for path, spec in MODEL_AXES.items() if path.startswith("enc")}
            | {f"decoder/{path}": spec for path, spec in RNN_AXES.items() if path.startswith(("dec", "out"))},
        ),
        (
            gpt(activation="swiglu"),
            {
                path.replace("encoder/", "layers/"): spec
                for path, spec in MODEL_AXES.items()
                if not path.startswith("dec")
            },
        ),
    ],
    ids=["transformer", "rnn", "composed", "gpt"],
)
def test_each_family_says_how_its_parameters_are_sharded(model, axes):
    _, parameters = split(nnx.eval_shape(lambda: create(model, 16, 16, 1)))
    devices = jax.make_mesh((1, 1, 1), parallel.AXES, axis_types=(jax.sharding.AxisType.Auto,) * 3)
    state = {"parameters": parameters, "mu": parameters, "count": jax.ShapeDtypeStruct((), "int32")}
    shardings = jax.tree_util.tree_leaves_with_path(parallel.shardings_for(devices, state, model.sharding()))
    specs = {jax.tree_util.keystr(path, simple=True, separator="/"): tuple(leaf.spec) for path, leaf in shardings}
    for path, spec in axes.items():
        assert specs[f"parameters/{path}"] == specs[f"mu/{path}"] == spec, path
    assert specs["count"] == ()


SEARCH = """
import json
import sys
import numpy as np
from tests.decoding.test_engine import SETTINGS, V, _louder, requests
from transformer.distributed import sharding as parallel
from transformer.models import build as models
from transformer.config import Decoding, Mesh
from transformer.decoding.engine import Engine

graph, parameters = models.split(models.create(SETTINGS["transformer"], V, V, 3))
mesh = parallel.make_mesh(Mesh(*map(int, sys.argv[1:])))
rules = SETTINGS["transformer"]
engine = Engine(models.builder(graph), mesh, 32, rules.cache_sharding())
parameters = _louder(parameters, np.random.default_rng(1))
parameters = parallel.put(parameters, parallel.shardings_for(mesh, parameters, rules.sharding()))
found = engine.run(parameters, requests(50), Decoding(beam=3, batch=16))
for one in sorted(found, key=lambda one: one.number):
    print(json.dumps([one.number, one.tokens[0][one.tokens[0] != 0].tolist(), float(one.scores[0])]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("mesh", [(4, 1, 1), (2, 2, 1), (2, 1, 2)])
def test_a_mesh_translates_like_one_device(mesh):
    def found(*mesh: int) -> tuple[list[Any], list[float]]:
        environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=4"}
        command = [sys.executable, "-c", SEARCH, *map(str, mesh)]
        done = subprocess.run(command, env=environment, cwd=meshes.ROOT, capture_output=True, text=True, check=True)
        every = [json.loads(line) for line in done.stdout.splitlines()]
        return [one[:2] for one in every], [one[2] for one in every]

    (tokens, scores), (expected, alone) = found(*mesh), found(1, 1, 1)
    assert len(expected) == 50
    assert tokens == expected
    np.testing.assert_allclose(scores, alone, rtol=1e-5)


PMAP = """
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from tests.conftest import tiny
from tests.training.test_loop import make_batch
from transformer import config
from transformer.config import Attention, Rnn
from transformer.distributed import sharding as parallel
from transformer.models.build import create, split
from transformer.training import optimizer as optim
from transformer.tasks.translation.loss import TranslationLoss
from transformer.training.signals import StopFlags, put_flags
from transformer.training.step import init_state, make_step

DEVICES, ROWS = 8, 32
model = {
    "transformer": tiny(encoder_layers=1, decoder_layers=1),
    "rnn": Rnn(embedding=16, width=16, encoder_width=8, bidirectional=True, attention=Attention(score="general")),
}[sys.argv[1]]
settings = config.Config(model=model)
graph, parameters = split(create(model, 16, 16, 1))
optimizer = optim.optimizer(settings.optimizer, lambda _: 1e-3)


@partial(jax.pmap, axis_name="devices")
def reference(state, batch):
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(settings.seed), state["step"]), 0)
    encoder_key, decoder_key = jax.random.split(key)

    def loss(parameters):
        net = nnx.merge(graph, parameters)
        hidden, _ = net.decode(net.encode(batch.source, encoder_key), batch.target_in, decoder_key)
        logp = jax.nn.log_softmax(net.output(hidden))
        nll = -jnp.take_along_axis(logp, batch.target_out[..., None], -1)[..., 0]
        return jnp.sum((0.9 * nll - 0.1 * logp.mean(-1)) * (batch.target_out != 0))

    total, gradients = jax.value_and_grad(loss)(state["parameters"])
    total, gradients, tokens = jax.lax.psum((total, gradients, jnp.sum(batch.target_out != 0)), "devices")
    gradients = jax.tree.map(lambda g: g / tokens, gradients)
    updates, new = optimizer.update(gradients, state["optimizer"], state["parameters"])
    return {
        "step": state["step"] + 1,
        "parameters": optax.apply_updates(state["parameters"], updates),
        "optimizer": new,
    }, total / tokens


mesh = parallel.make_mesh(config.Mesh())
ours = init_state(parameters, optimizer, mesh, model.sharding())
step = jax.jit(make_step(graph, TranslationLoss.of(settings), optimizer, settings, mesh))
state = {"step": jnp.int32(0), "parameters": parameters, "optimizer": optimizer.init(parameters)}
theirs = jax.tree.map(lambda leaf: jnp.stack([leaf] * DEVICES), state)
for number in range(3):
    batch = jax.tree.map(np.asarray, make_batch(ROWS, number))
    ours, metrics = step(ours, parallel.put_batch(mesh, batch), put_flags(mesh, StopFlags()))
    theirs, losses = reference(theirs, jax.tree.map(lambda x: x.reshape(DEVICES, -1, *x.shape[1:]), batch))
    np.testing.assert_allclose(float(metrics.values()["loss"]), losses, rtol=1e-6)
for a, b in zip(jax.tree.leaves(ours["parameters"]), jax.tree.leaves(theirs["parameters"])):
    np.testing.assert_allclose(a, b[0], atol=1e-5)
print("equal")
"""


@pytest.mark.slow
@pytest.mark.parametrize("model", ["transformer", "rnn"])
def test_the_update_of_data_parallel_devices_is_that_of_pmap(model):
    """With dropout: pmap is implemented with shard_map, so there, too, masks count positions from the device's first
    row."""
    environment = os.environ | {
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"
    }
    command = [sys.executable, "-W", "ignore", "-c", PMAP, model]
    done = subprocess.run(command, env=environment, cwd=meshes.ROOT, capture_output=True, text=True)
    assert done.stdout == "equal\n", done.stderr
