"""Multi30k English-German with Bahdanau's attention (RNNsearch of GRU cells): data and tokenizer of `multi30k_ende`.

transformer train multi30k_ende_bahdanau && transformer evaluate runs/multi30k_ende_bahdanau --tokenize none

Not yet run to its end.
"""

import dataclasses

from transformer import recipes
from transformer.config import Attention, Rnn

_, luong = recipes.find("multi30k_ende_luong")
config = dataclasses.replace(
    luong,
    model=Rnn(
        decoder="bahdanau",
        cell="gru",
        bidirectional=True,
        embedding=256,
        encoder_width=256,
        width=512,
        readout=256,
        attention=Attention(score="additive"),
        tie="all",
        dropout=0.3,
    ),
)
