"""WMT14 English-French, the big Transformer of Vaswani et al. 2017: 41.8 BLEU on newstest2014 (Table 2).

transformer data prepare wmt14_enfr_big
transformer train wmt14_enfr_big
transformer evaluate runs/wmt14_enfr_big

As published: `wmt14_ende_big` on the 36 million pairs of English-French (40.8 million as TFDS has them), one vocabulary
of 32,000 pieces, dropout 0.1.

{estimate}

Truly run: `--smoke`. Not run at full size: no accelerator was at hand.
"""

import dataclasses

from transformer import recipes
from transformer.config import Transformer

_, big = recipes.find("wmt14_ende_big")
assert isinstance(big.model, Transformer)
config = dataclasses.replace(
    big,
    data=dataclasses.replace(big.data, source="tfds:wmt14_translate/fr-en", languages=("en", "fr")),
    tokenizer=dataclasses.replace(big.tokenizer, vocabulary=32_000),
    model=dataclasses.replace(big.model, dropout=0.1),
)
