"""Twenty updates on a mesh, in a separate process (or several as one job): `python -m tests.meshes TASK`.

Several devices are simulated, and their number must be set before JAX starts.
"""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
ROWS, UPDATES = 32, 20


def run(folder: Path, model: str, mesh: dict[str, int], devices: int, processes: int = 1) -> dict[str, Any]:
    """The result of every process of the job; all must be equal."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        coordinator = f"localhost:{free.getsockname()[1]}"
    task = {"folder": str(folder), "model": model, "mesh": mesh}
    environment = os.environ | {
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
    }
    children = []
    for process in range(processes):
        cluster = [coordinator, processes, process] if processes > 1 else None
        command = [sys.executable, "-m", "tests.meshes", json.dumps(task | {"cluster": cluster})]
        children.append(subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True))
    found = [child.communicate(timeout=600)[0] for child in children]
    assert all(child.returncode == 0 for child in children)
    results = [json.loads(text.splitlines()[-1]) for text in found]
    assert all(result["losses"] == results[0]["losses"] for result in results)
    return results[0]


def main(task: dict[str, Any]) -> None:
    from transformer.config import Cluster
    from transformer.distributed import processes as cluster

    if task["cluster"]:
        cluster.join(Cluster(*task["cluster"]))  # before anything asks for devices
    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax

    from tests.conftest import tiny
    from tests.training.test_loop import make_batch, segmented
    from transformer import config
    from transformer.config import Attention, Gpt, Mesh, Rnn
    from transformer.distributed import sharding as parallel
    from transformer.models.build import create, split
    from transformer.tasks.translation.loss import TranslationLoss
    from transformer.training import optimizer as optim
    from transformer.training import step as update
    from transformer.training.signals import StopFlags, put_flags

    jax.config.update("jax_numpy_rank_promotion", "raise")
    transformer = tiny(width=32, feedforward=64, attention=Attention(heads=4))
    model = {
        "transformer": transformer,
        "packed": transformer,
        "gpt": Gpt(layers=2, width=32, feedforward=64, max_length=32),
        "rnn": Rnn(embedding=16, width=16, encoder_width=8, bidirectional=True, attention=Attention(score="general")),
    }[task["model"]]
    settings = config.Config(model=model, training=config.Training(accumulate=2, loss_chunk=16))
    mesh = parallel.make_mesh(Mesh(**task["mesh"]))
    graph, parameters = split(create(model, 16, 16, 1))

    def zeros(tree: Any) -> Any:
        return jax.tree.map(jnp.zeros_like, tree)

    recorder = optax.GradientTransformation(zeros, lambda gradients, state, parameters=None: (gradients, gradients))
    optimizer = optax.chain(recorder, optim.optimizer(settings.optimizer, lambda _: 1e-3))
    state = update.init_state(parameters, optimizer, mesh, model.sharding())
    places = parallel.shardings_for(mesh, state, model.sharding())
    own = parallel.local_rows(mesh, ROWS)

    def batch(number: int) -> Any:
        made = make_batch(ROWS, number)
        made = segmented(made) if task["model"] == "packed" else made
        return parallel.put_batch(mesh, jax.tree.map(lambda x: np.asarray(x)[own], made))

    nothing = put_flags(mesh, StopFlags())
    jitted = jax.jit(
        update.make_step(graph, TranslationLoss.of(settings), optimizer, settings, mesh),
        out_shardings=(places, parallel.replicated(mesh)),
    )
    program = jitted.lower(state, batch(0), nothing).compile()
    losses, gradients = [], {}
    for number in range(UPDATES):
        state, metrics = program(state, batch(number), nothing)
        losses.append(float(metrics.values()["loss"]))
        if number == 0:
            whole = jax.jit(lambda x: x, out_shardings=parallel.replicated(mesh))(state["optimizer"][0])
            leaves = jax.tree_util.tree_leaves_with_path(whole)
            gradients = {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}
    if cluster.is_main_process():
        np.savez(Path(task["folder"]) / "gradients.npz", **gradients)
        (Path(task["folder"]) / "step.hlo").write_text(program.as_text())
    print(json.dumps({"losses": losses, "parameters": sum(leaf.size for leaf in jax.tree.leaves(parameters))}))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
