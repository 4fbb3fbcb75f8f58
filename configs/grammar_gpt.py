"""The embedded grammar, English to German, by a decoder-only model: data and tokenizer of `grammar`.

transformer train grammar_gpt && transformer evaluate runs/grammar_gpt

1.8 million parameters, as many as `grammar` has, and 1.8 times its operations: source tokens pass through all layers.
No result yet.
"""

import dataclasses

from transformer import recipes
from transformer.config import Attention, Gpt

_, grammar = recipes.find("grammar")
config = dataclasses.replace(
    grammar,
    model=Gpt(
        layers=7, width=128, feedforward=512, attention=Attention(heads=4), dropout=0.1, max_length=128, unroll=True
    ),
)
