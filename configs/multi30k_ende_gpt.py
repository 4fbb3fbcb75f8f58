"""Multi30k English-German by a decoder-only model: data, tokenizer and training of `multi30k_ende`.

transformer train multi30k_ende_gpt && transformer evaluate runs/multi30k_ende_gpt --tokenize none

2.2 million parameters, about as many as `multi30k_ende` has, and 1.6 times its operations: source tokens pass
through all layers. `--model.prefix bidirectional` lets every source token see the
whole source. No result yet.
"""

import dataclasses

from transformer import recipes
from transformer.config import Attention, Gpt

_, multi30k = recipes.find("multi30k_ende")
config = dataclasses.replace(
    multi30k,
    model=Gpt(layers=10, width=128, feedforward=256, attention=Attention(heads=4), dropout=0.3, unroll=True),
)
