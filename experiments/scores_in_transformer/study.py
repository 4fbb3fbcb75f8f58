"""Which score works best inside the Transformer? transformer study experiments/scores_in_transformer

Every attention of the model (encoder, decoder, cross) has the variant's score; nothing else differs.
"""

import dataclasses

from transformer import recipes
from transformer.config import Batching, Config, Training, Transformer, Translation
from transformer.study.variants import Study, Variant

_, demo = recipes.find("demo")
_, captions = recipes.find("multi30k_ende")
UPDATES = 1_200
assert isinstance(demo.model, Transformer)
ATTENTION = demo.model.attention


def config(corpus: Config, score: str, dropout: float) -> Config:
    attention = dataclasses.replace(ATTENTION, score=score)
    return dataclasses.replace(
        corpus,
        model=dataclasses.replace(demo.model, attention=attention, dropout=dropout),
        batching=Batching(tokens=1_024, shapes=3),
        schedule=demo.schedule,
        task=Translation(validate_sentences=0, metric="loss"),
        training=Training(steps=UPDATES, validate_every=UPDATES),
    )


def on_multi30k(score: str) -> Variant:
    return Variant(config(captions, score, 0.1), seeds=(1, 2, 3), scoring={"tokenize": "none"}, table="multi30k")


SCORES = ("scaled_dot", "additive", "general", "cosine", "location", "dot")
study = Study(
    variants={
        **{score: Variant(config(demo, score, 0.0), seeds=(1, 2, 3), table="grammar") for score in SCORES},
        **{f"multi30k_{score}": on_multi30k(score) for score in ("scaled_dot", "cosine")},
    },
    full={f"multi30k_{score}": on_multi30k(score) for score in ("additive", "general", "location", "dot")},
    baselines=("scaled_dot", "multi30k_scaled_dot"),
    reuse_from=("../attention_variants", "../transformer_ablations"),
)
