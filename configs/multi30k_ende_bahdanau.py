"""Multi30k English-German with Bahdanau's attention (RNNsearch of GRU cells): data and tokenizer of `multi30k_ende`.

transformer train multi30k_ende_bahdanau && transformer evaluate runs/multi30k_ende_bahdanau --tokenize none

Test, lower-cased tokenised BLEU, beam 5, the best checkpoint: 37.7 (seed 1; 95% interval 36.1 to 39.3). Validation,
greedy: 38.3. 68 minutes of training on one core of an AMD EPYC, with other work on both; November 2026.
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
