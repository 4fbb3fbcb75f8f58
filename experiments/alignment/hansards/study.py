"""Models whose attention aligns the Hansards, both directions: transformer study experiments/alignment/hansards

Needs the text that convention.py makes of Tatoeba's (../README.md has the commands). ../hansards_aer.py measures the
error rates.
"""

import dataclasses

from transformer import recipes
from transformer.config import Training
from transformer.study.cells import Cell, Study

TEXT = "runs/hansards/text"


def cell(source: str, target: str) -> Cell:
    _, settings = recipes.find("multi30k_ende")
    data = dataclasses.replace(
        settings.data,
        languages=(source, target),
        train=f"{TEXT}/train",
        validation="",
        held_out=500,
        test=f"{TEXT}/dev",
    )
    tokenizer = dataclasses.replace(settings.tokenizer, vocabulary=8_000)
    training = Training(steps=3_000, validate_every=500)
    return Cell(dataclasses.replace(settings, data=data, tokenizer=tokenizer, training=training), tokenize="none")


study = Study({"transformer_en_fr": cell("en", "fr"), "transformer_fr_en": cell("fr", "en")})
