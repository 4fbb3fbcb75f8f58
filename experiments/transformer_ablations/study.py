"""What matters in a tiny Transformer? transformer study experiments/transformer_ablations

Vaswani 2017, Table 3, rows A to E, on Multi30k; row B (the width of keys, apart from the number of heads) is not here,
because a head's width is the model's width divided by the number of heads. Each variant changes one thing. One seed;
--full has three.
"""

import dataclasses
from typing import Any

from transformer import recipes
from transformer.config import Batching, Config, Training, Transformer, Translation
from transformer.study.variants import Study, Variant

UPDATES = 1_200
_, demo = recipes.find("demo")
_, captions = recipes.find("multi30k_ende")
assert isinstance(demo.model, Transformer)
ATTENTION = demo.model.attention
base = dataclasses.replace(
    captions,
    model=dataclasses.replace(demo.model, dropout=0.1),
    batching=Batching(tokens=1_024, shapes=3),
    schedule=demo.schedule,
    task=Translation(validate_sentences=0, metric="loss"),
    training=Training(steps=UPDATES, validate_every=UPDATES),
)


def model(**changes: Any) -> Config:
    return dataclasses.replace(base, model=dataclasses.replace(base.model, **changes))


def heads(number: int) -> Config:
    return model(attention=dataclasses.replace(ATTENTION, heads=number))


def smoothing(share: float) -> Config:
    return dataclasses.replace(base, task=dataclasses.replace(base.task, label_smoothing=share))


CONFIGS = {
    "base": base,
    **{f"A_heads_{number}": heads(number) for number in (1, 2, 8, 16)},
    **{f"C_layers_{number}": model(encoder_layers=number, decoder_layers=number) for number in (1, 4)},
    **{f"C_width_{width}": model(width=width) for width in (64, 256)},
    **{f"C_feedforward_{width}": model(feedforward=width) for width in (256, 1_024)},
    **{f"D_dropout_{percent:02}": model(dropout=percent / 100) for percent in (0, 30)},
    **{f"D_smoothing_{percent:02}": smoothing(percent / 100) for percent in (0, 20)},
    "E_learned_positions": model(positions="learned"),
    "post_norm": model(norm="post"),
}
study = Study(
    variants={name: Variant(settings, scoring={"tokenize": "none"}) for name, settings in CONFIGS.items()},
    full={name: Variant(settings, seeds=(1, 2, 3), scoring={"tokenize": "none"}) for name, settings in CONFIGS.items()},
    baselines=("base",),
    plotted=("base", "A_heads_1", "C_layers_1", "C_width_64", "D_dropout_00", "E_learned_positions", "post_norm"),
    reuse_from=("../attention_variants", "../scores_in_transformer"),
)
