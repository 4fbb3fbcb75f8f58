"""Every Multi30k recipe with its seeds: transformer study experiments/multi30k [--only VARIANT ...]

Tables `german` and `french`, and `raw`, English-German as well. All variants but the last are scored on the published
lower-cased tokenised text; the last is trained on the raw text, with 4,000 of the 10,000 updates, and scored cased and
detokenised.
"""

import dataclasses

from transformer import recipes
from transformer.config import Config
from transformer.study.variants import Study, Variant


def recipe(name: str) -> Config:
    return recipes.find(f"multi30k_{name}")[1]


def raw(config: Config) -> Config:
    splits = {"train": "train", "validation": "val", "test": "test_2016_flickr"}
    paths = {name: f"data/multi30k/{file}" for name, file in splits.items()}
    return dataclasses.replace(
        config,
        data=dataclasses.replace(config.data, **paths),
        training=dataclasses.replace(config.training, steps=4_000),
    )


study = Study(
    variants={
        "transformer": Variant(recipe("ende"), seeds=(1, 2), scoring={"tokenize": "none"}, table="german"),
        "transformer_paper": Variant(recipe("ende_paper"), scoring={"tokenize": "none"}, table="german"),
        "luong": Variant(recipe("ende_luong"), seeds=(1, 2), scoring={"tokenize": "none"}, table="german"),
        "bahdanau": Variant(recipe("ende_bahdanau"), seeds=(1, 2), scoring={"tokenize": "none"}, table="german"),
        "transformer_french": Variant(recipe("enfr"), scoring={"tokenize": "none"}, table="french"),
        "transformer_paper_french": Variant(recipe("enfr_paper"), scoring={"tokenize": "none"}, table="french"),
        "transformer_raw": Variant(raw(recipe("ende")), table="raw"),
    },
    baselines=("transformer", "transformer_french"),
)
