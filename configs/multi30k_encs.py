"""Multi30k English-Czech, raw text: the settings of `multi30k_ende`.

transformer train multi30k_encs && transformer evaluate runs/multi30k_encs

Czech is not among the published tokenised files, so this is cased, detokenised BLEU on raw text.
"""

import dataclasses

from transformer import recipes

_, english_german = recipes.find("multi30k_ende")
config = dataclasses.replace(
    english_german,
    data=dataclasses.replace(
        english_german.data,
        languages=("en", "cs"),
        train="data/multi30k/train",
        validation="data/multi30k/val",
        test="data/multi30k/test_2016_flickr",
    ),
    tokenizer=dataclasses.replace(english_german.tokenizer, vocabulary=8_000),
)
