"""WMT14 English-French, the big Transformer of Vaswani et al. 2017: 41.8 BLEU on newstest2014 (Table 2).

transformer data prepare wmt14_enfr_big
transformer train wmt14_enfr_big
transformer evaluate runs/wmt14_enfr_big

As published: `wmt14_ende_big` on the 36 million pairs of English-French (40.8 million in TFDS), one vocabulary of
32,000 pieces, dropout 0.1.

Estimated, not measured (experiments/throughput/estimate.py): 3.23e13 useful operations per update (XLA counts 3.24e13),
so 9.7e18 in all: 9.1 hours on one H100 at 30% of its 989e12 a second, 25 on one A100 at 35% of its 312e12. Memory as
`wmt14_ende_big`, with 209 million parameters: about 20 GiB. Preparing 40.8 million pairs would take half an hour on two
slow cores at the measured 25,800 pairs per second (experiments/throughput, with shorter sentences, so rather an hour),
and about 20 GB of disk.

Run: `--smoke` only. Not run at full size: no accelerator was available.
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
