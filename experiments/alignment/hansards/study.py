"""Models whose attention aligns the Hansards, both directions: transformer study experiments/alignment/hansards

Needs the text that convention.py makes of Tatoeba's (../README.md has the commands). ../hansards_aer.py measures the
error rates.
"""

import dataclasses

from transformer import recipes
from transformer.config import Training
from transformer.study.variants import Study, Variant

TEXT = "runs/hansards/text"


def variant(source: str, target: str) -> Variant:
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
    return Variant(
        dataclasses.replace(settings, data=data, tokenizer=tokenizer, training=training), scoring={"tokenize": "none"}
    )


study = Study({"transformer_en_fr": variant("en", "fr"), "transformer_fr_en": variant("fr", "en")})
