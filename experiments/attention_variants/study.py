"""Every attention, under one budget: transformer study experiments/attention_variants

Table `grammar`: all recurrent variants have one encoder (bidirectional, its states as wide as the decoder's), one
embedding, tied with the output layer, and one width; they differ only in decoder, score and window. The Transformer is
the recipe `demo`'s. Table `multi30k`: five of these models on Multi30k. Table `long`, of --full: the grammar again, on
models twice as wide and more than three times the tokens.
"""

import dataclasses

from transformer import recipes
from transformer.config import Attention, Batching, Config, Rnn, Training, Transformer, Translation
from transformer.models.config import ModelConfig
from transformer.study.variants import Pair, Study, Variant

SEEDS = (1, 2, 3)
UPDATES = 1_200
_, demo = recipes.find("demo")
_, captions = recipes.find("multi30k_ende")
_, grammar = recipes.find("grammar")


def luong(score: str, window: str = "global", *, input_feeding: bool = True) -> Rnn:
    return Rnn(
        decoder="luong",
        cell="lstm",
        attention=Attention(score=score, window=window),
        input_feeding=input_feeding,
    )


def bahdanau(score: str) -> Rnn:
    return Rnn(decoder="bahdanau", cell="gru", attention=Attention(score=score))


MODELS: dict[str, ModelConfig] = {
    "plain_sutskever": luong("none"),
    "plain_cho": bahdanau("none"),
    "bahdanau": bahdanau("additive"),
    # Luong 2015, section 3: every score with every window.
    **{
        f"luong_{score}_{window}": luong(score, window)
        for score in ("dot", "general", "concat", "location")
        for window in ("global", "local_m", "local_p")
    },
    "luong_general_no_feeding": luong("general", input_feeding=False),
    "transformer": Transformer(),
}
# Luong 2015, Table 4, has no row of these.
NOT_IN_TABLE_4 = ("luong_concat_local_m", "luong_concat_local_p", "luong_location_local_m", "luong_location_local_p")


def sized(model: ModelConfig, width: int, dropout: float, transformer: ModelConfig) -> ModelConfig:
    """A recurrent model of a width; the Transformer as it is given."""
    if not isinstance(model, Rnn):
        return dataclasses.replace(transformer, dropout=dropout)
    return dataclasses.replace(
        model,
        bidirectional=True,
        embedding=width,
        encoder_width=width // 2,
        width=width,
        readout=width if model.decoder == "bahdanau" else model.readout,
        tie="all",
        dropout=dropout,
        max_length=128,
    )


def short(corpus: Config, model: ModelConfig, dropout: float) -> Config:
    return dataclasses.replace(
        corpus,
        model=sized(model, 128, dropout, demo.model),
        batching=Batching(tokens=1_024, shapes=3),
        schedule=demo.schedule,
        task=Translation(validate_sentences=0, metric="loss"),
        training=Training(steps=UPDATES, validate_every=UPDATES),
    )


def long(model: ModelConfig) -> Config:
    training, task = Training(steps=2_000, validate_every=500), Translation(validate_sentences=200)
    return dataclasses.replace(grammar, model=sized(model, 256, 0.1, grammar.model), task=task, training=training)


study = Study(
    variants={
        **{
            name: Variant(short(demo, model, 0.0), seeds=SEEDS, table="grammar")
            for name, model in MODELS.items()
            if name not in NOT_IN_TABLE_4
        },
        **{
            f"multi30k_{name}": Variant(
                short(captions, MODELS[name], 0.1), seeds=SEEDS, scoring={"tokenize": "none"}, table="multi30k"
            )
            for name in ("plain_sutskever", "bahdanau", "luong_general_global", "luong_dot_global", "transformer")
        },
    },
    full={
        **{name: Variant(short(demo, MODELS[name], 0.0), seeds=SEEDS, table="grammar") for name in NOT_IN_TABLE_4},
        **{f"long_{name}": Variant(long(model), seeds=SEEDS, table="long") for name, model in MODELS.items()},
    },
    baselines=("bahdanau", "multi30k_bahdanau", "long_bahdanau"),
    pairs=(
        # From score to score, down the table.
        Pair("luong_concat_global", "luong_dot_global"),
        Pair("luong_dot_global", "luong_general_global"),
        Pair("luong_general_global", "luong_location_global"),
        # Windows, and input feeding.
        *(
            Pair(f"luong_{score}_{window}", f"luong_{score}_global")
            for score in ("dot", "general")
            for window in ("local_m", "local_p")
        ),
        Pair("luong_general_no_feeding", "luong_general_global"),
        Pair("luong_general_local_p", "luong_general_local_m", "AER"),
        Pair("multi30k_luong_dot_global", "multi30k_luong_general_global"),
    ),
    plotted=tuple(
        f"{table}{name}"
        for table in ("", "long_")
        for name in (
            *("plain_sutskever", "plain_cho", "bahdanau", "luong_general_global", "luong_location_global"),
            "transformer",
        )
    ),
    reuse_from=("../scores_in_transformer", "../transformer_ablations"),
)
