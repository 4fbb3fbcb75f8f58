"""Every attention on the grammar, under one budget: transformer study experiments/attention_variants

All recurrent cells have one encoder (bidirectional, its states as wide as the decoder's), one embedding, tied with the
output layer, and one width; they differ in decoder, score and window alone. The Transformer is the recipe `grammar`'s.
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

# The others have one; ../alignment measures these.
THREE_SEEDS = ("bahdanau", "luong_general_global", "luong_general_local_p", "transformer")

study = Study(
    cells={
        name: Cell(settings, seeds=(1, 2, 3) if name in THREE_SEEDS else (1,)) for name, settings in CONFIGS.items()
    },
    drawn=("plain_sutskever", "plain_cho", "bahdanau", "luong_general_global", "luong_location_global", "transformer"),
)
