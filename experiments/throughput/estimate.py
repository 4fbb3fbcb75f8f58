"""The cost of a recipe's update without running it, from the compiled program, and an estimate for accelerators.

    python experiments/throughput/estimate.py wmt14_ende_base wmt14_ende_big wmt14_enfr_big

The update is compiled for one shape of batch, every row of it real tokens, with layers and loss unrolled (XLA counts
the body of a loop once). Compared are XLA's count of operations and the useful ones (`multiplications`); memory
is that of parameters, optimizer and gradients, and what XLA sets aside beside it on this machine's CPU, which is no
measure of an accelerator's. Hours are the useful operations at an assumed, not measured, share of the peak. Recurrent
models are loops over time, so only their useful operations are given.
"""

import dataclasses
import json
from dataclasses import dataclass
from typing import Annotated

import jax
import numpy as np
import tyro
from flax import nnx

from transformer import recipes
from transformer.config import Rnn
from transformer.data.batching.buckets import Bucket
from transformer.data.batching.pairs import Batch
from transformer.distributed import sharding as parallel
from transformer.distributed.peaks import PEAKS
from transformer.models.build import create, split
from transformer.models.config import SequenceToSequence
from transformer.tasks.translation.loss import TranslationLoss
from transformer.training import optimizer as optim
from transformer.training import step as update

ASSUMED = {"A100": 0.35, "H100": 0.30}
"""Assumed share of the peak in bfloat16 for an update of a Transformer."""
RECURRENT = 0.10
"""The same for recurrent models: products of a few rows, one after the other."""


@dataclass(frozen=True)
class Estimate:
    """Print a JSON object for each recipe."""

    recipes: Annotated[tuple[str, ...], tyro.conf.Positional]
    length: int = 32
    """Tokens of both sides of every sentence, including EOS."""

    def __call__(self) -> None:
        for recipe in self.recipes:
            print(json.dumps(estimate(recipe, self.length)), flush=True)


def estimate(recipe: str, length: int) -> dict[str, float | str | dict[str, float]]:
    """Operations, bytes and hours of a recipe."""
    _, settings = recipes.find(recipe)
    assert isinstance(settings.model, SequenceToSequence)
    vocabulary, recurrent = settings.tokenizer.vocabulary, isinstance(settings.model, Rnn)
    rows = settings.batching.rows or settings.batching.tokens // length
    tokens, lengths = np.ones((rows, length), np.int32), np.full(rows, length)
    useful = 6.0 * settings.model.multiplications(lengths, lengths, vocabulary)
    if not recurrent:  # so that every operation is in the program once
        settings = dataclasses.replace(
            settings,
            model=dataclasses.replace(settings.model, unroll=True),
            training=dataclasses.replace(settings.training, loss_chunk=rows * length),
        )
    # Only shapes of the model and of the state are made.
    how = {"precision": settings.training.precision, "remat": settings.training.remat}
    graph, parameters = split(nnx.eval_shape(lambda: create(settings.model, vocabulary, vocabulary, 1, **how)))
    optimizer = optim.optimizer(
        settings.optimizer,
        optim.schedule(settings.schedule, getattr(settings.model, "width", 1), settings.training.steps),
    )
    count = sum(leaf.size for leaf in jax.tree.leaves(parameters))
    state = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(update.shapes(parameters, optimizer)))
    result: dict[str, float | str | dict[str, float]] = {
        "recipe": recipe,
        "rows": rows,
        "length": length,
        "parameters": count,
        "state_and_gradients_gib": (state + 4 * count) / 2**30,
        "useful_flops": useful,
    }
    if not recurrent:
        mesh = parallel.make_mesh(settings.mesh)
        shapes = update.shapes(parameters, optimizer)
        began = jax.tree.map(
            lambda leaf, place: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place),
            shapes,
            parallel.shardings_for(mesh, shapes, settings.model.sharding()),
        )
        (program,) = update.compile_ahead(
            update.make_step(graph, TranslationLoss.of(settings), optimizer, settings, mesh),
            began,
            {Bucket(rows, (length, length)): Batch(tokens, tokens, tokens)},
            mesh,
        ).values()
        analysis, memory = program.cost_analysis(), program.memory_analysis()
        result |= {"xla_flops": analysis["flops"], "cpu_temporary_gib": memory.temp_size_in_bytes / 2**30}
    steps = settings.training.steps
    result["hours"] = {name: steps * useful / (share * PEAKS[name]) / 3600 for name, share in ASSUMED.items()}
    return result


if __name__ == "__main__":
    tyro.cli(Estimate)()
