"""Which score serves inside the Transformer? transformer study experiments/scores_in_transformer

Every attention of the model (encoder, decoder, cross) has the cell's score; nothing else differs.
"""

import dataclasses

from transformer import recipes
from transformer.config import Config, Training
from transformer.study.cells import Cell, Study

_, grammar = recipes.find("grammar")
_, captions = recipes.find("multi30k_ende")


def config(recipe: Config, score: str) -> Config:
    attention = dataclasses.replace(recipe.model.attention, score=score)
    return dataclasses.replace(
        recipe,
        model=dataclasses.replace(recipe.model, attention=attention),
        batching=grammar.batching,
        schedule=grammar.schedule,
        training=Training(steps=1_200, validate_every=400, validate_sentences=200),
    )


SCORES = ("scaled_dot", "additive", "general", "cosine", "location")
study = Study(
    cells={
        **{score: Cell(config(grammar, score), seeds=(1, 2, 3), table="grammar") for score in SCORES},
        **{
            f"multi30k_{score}": Cell(config(captions, score), seeds=(1, 2, 3), tokenize="none", table="multi30k")
            for score in ("scaled_dot", "general")
        },
    },
    full={
        f"multi30k_{score}": Cell(config(captions, score), seeds=(1, 2, 3), tokenize="none", table="multi30k")
        for score in ("additive", "cosine", "location")
    },
    baselines=("scaled_dot", "multi30k_scaled_dot"),
)
