"""Models whose attention aligns the Hansards, both directions: transformer study experiments/alignment/hansards

Needs the text that convention.py makes of Tatoeba's (../README.md has the commands). ../hansards_aer.py measures the
error rates.
"""

import dataclasses

from transformer import recipes
from transformer.config import Training
from transformer.study.cells import Cell, Study

TEXT = "runs/hansards/text"


def cell(recipe: str, languages: tuple[str, str], updates: int) -> Cell:
    _, settings = recipes.find(recipe)
    data = dataclasses.replace(
        settings.data,
        languages=languages,
        train=f"{TEXT}/train",
        validation="",
        held_out=500,
        test=f"{TEXT}/dev",
    )
    tokenizer = dataclasses.replace(settings.tokenizer, vocabulary=8_000)
    training = Training(steps=updates, validate_every=500)
    return Cell(dataclasses.replace(settings, data=data, tokenizer=tokenizer, training=training), tokenize="none")


def both(name: str, recipe: str, updates: int) -> dict[str, Cell]:
    directions: list[tuple[str, str]] = [("en", "fr"), ("fr", "en")]
    return {f"{name}_{'_'.join(languages)}": cell(recipe, languages, updates) for languages in directions}


study = Study(both("transformer", "multi30k_ende", 3_000))
