"""Does a fixed vector fail on long sentences? transformer study experiments/sentence_length

Bahdanau 2015, Figure 2. The paper has RNNenc and RNNsearch trained on sentences of up to 30 and up to 50 words; here
they are trained on up to 15 and up to 30 tokens a side, and tested on sentences of every length. On the grammar tokens
are words; on Multi30k they are pieces.
"""

import dataclasses

from transformer import recipes
from transformer.config import Attention, Batching, Config, Rnn, Tokenizer, Training, Translation
from transformer.study.variants import Pair, Study, Variant

LIMITS = (15, 30)
UPDATES = 1_200
SCORES = {"rnnenc": "none", "rnnsearch": "additive"}
_, demo = recipes.find("demo")
_, captions = recipes.find("multi30k_ende")


def config(corpus: Config, score: str, limit: int, dropout: float) -> Config:
    model = Rnn(
        decoder="bahdanau",
        cell="gru",
        bidirectional=True,
        embedding=128,
        encoder_width=64,
        width=128,
        readout=128,
        attention=Attention(score=score),
        tie="all",
        dropout=dropout,
        max_length=128,
    )
    return dataclasses.replace(
        corpus,
        data=dataclasses.replace(corpus.data, max_length=limit + 1),  # and the mark of the end
        model=model,
        batching=Batching(tokens=1_024, shapes=3),
        schedule=demo.schedule,
        task=Translation(validate_sentences=0, metric="loss"),
        training=Training(steps=UPDATES, validate_every=UPDATES),
    )


words = dataclasses.replace(demo, tokenizer=Tokenizer(kind="word", vocabulary=6_000, joint=True))
study = Study(
    variants={
        **{
            f"{name}_{limit}": Variant(config(words, score, limit, 0.0), seeds=(1, 2, 3), table="grammar")
            for name, score in SCORES.items()
            for limit in LIMITS
        },
        **{
            f"multi30k_{name}_{limit}": Variant(
                config(captions, score, limit, 0.1), seeds=(1, 2, 3), scoring={"tokenize": "none"}, table="multi30k"
            )
            for name, score in SCORES.items()
            for limit in LIMITS
        },
    },
    baselines=("rnnenc_30", "multi30k_rnnenc_30"),
    pairs=tuple(
        Pair(f"{text}{one}", f"{text}{other}")
        for text in ("", "multi30k_")
        for one, other in (("rnnsearch_30", "rnnsearch_15"), ("rnnsearch_15", "rnnenc_15"))
    ),
)
