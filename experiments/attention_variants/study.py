"""Every attention, under one budget: transformer study experiments/attention_variants

Table `results`: the grammar. All recurrent cells have one encoder (bidirectional, its states as wide as the decoder's),
one embedding, tied with the output layer, and one width; they differ in decoder, score and window alone. The
Transformer is the recipe `grammar`'s. Table `multi30k`: the same models, five of them, on Multi30k.
"""

import dataclasses

from transformer import recipes
from transformer.config import Attention, Config, Model, Rnn, Training
from transformer.study.cells import Cell, Study

_, grammar = recipes.find("grammar")


def config(model: Model) -> Config:
    return dataclasses.replace(
        grammar, model=model, training=Training(steps=2_000, validate_every=500, validate_sentences=200)
    )


def luong(score: str, window: str = "global", *, input_feeding: bool = True) -> Config:
    return config(
        Rnn(
            decoder="luong",
            cell="lstm",
            bidirectional=True,
            embedding=256,
            encoder_width=128,
            width=256,
            attention=Attention(score=score, window=window),
            input_feeding=input_feeding,
            tie="all",
            dropout=0.1,
            max_length=128,
        )
    )


def bahdanau(score: str) -> Config:
    return config(
        Rnn(
            decoder="bahdanau",
            cell="gru",
            bidirectional=True,
            embedding=256,
            encoder_width=128,
            width=256,
            readout=256,
            attention=Attention(score=score),
            tie="all",
            dropout=0.1,
            max_length=128,
        )
    )


# Luong 2015, section 3: every score with every window.
GRID = {
    f"luong_{score}_{window}": luong(score, window)
    for score in ("dot", "general", "concat", "location")
    for window in ("global", "local_m", "local_p")
}
CONFIGS = {
    "plain_sutskever": luong("none"),
    "plain_cho": bahdanau("none"),
    "bahdanau": bahdanau("additive"),
    **GRID,
    "luong_general_no_feeding": luong("general", input_feeding=False),
    "transformer": config(grammar.model),
}
# Luong 2015, Table 4, has no row of these: one seed will do.
BESIDE = ("luong_concat_local_m", "luong_concat_local_p", "luong_location_local_m", "luong_location_local_p")
SEEDS = (1, 2, 3)


def on_multi30k(cell: str) -> Cell:
    """The same model and schedule on captions: the data, the tokenizer and the search of the recipe."""
    _, recipe = recipes.find("multi30k_ende")
    settings = CONFIGS[cell]
    model = dataclasses.replace(settings.model, dropout=0.3)
    given = dataclasses.replace(
        recipe,
        model=model,
        batching=settings.batching,
        schedule=settings.schedule,
        training=dataclasses.replace(settings.training, steps=1_500),
        data=dataclasses.replace(recipe.data, max_length=64),
    )
    return Cell(given, seeds=SEEDS, tokenize="none", table="multi30k")


study = Study(
    cells={
        **{name: Cell(settings, seeds=(1,) if name in BESIDE else SEEDS) for name, settings in CONFIGS.items()},
        **{
            f"multi30k_{name}": on_multi30k(name)
            for name in ("plain_sutskever", "bahdanau", "luong_general_global", "luong_dot_global", "transformer")
        },
    },
    full={name: Cell(CONFIGS[name], seeds=SEEDS) for name in BESIDE},
    baselines=("bahdanau", "multi30k_bahdanau"),
    drawn=("plain_sutskever", "plain_cho", "bahdanau", "luong_general_global", "luong_location_global", "transformer"),
)
