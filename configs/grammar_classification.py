"""Has an English sentence of the embedded grammar a relative clause? A text classifier without any file.

transformer train grammar_classification && transformer evaluate runs/grammar_classification

20,000 sentences, 16% of which have one. Test: 99.9% accuracy (95% interval 99.7 to 100) with the checkpoint of 200
updates, the best validated; unseen constructions: 99.8%. 5 minutes on 2 cores of an AMD EPYC that other programs shared
(one run, seed 1, November 2026).
"""

from transformer.config import (
    Attention,
    Batching,
    Classification,
    Classifier,
    Config,
    Data,
    Grammar,
    Schedule,
    Tokenizer,
    Training,
    Transformer,
)

config = Config(
    data=Data(languages=("en", "label"), grammar=Grammar(train=20_000, label="relative")),
    tokenizer=Tokenizer(kind="word", vocabulary=3_000),
    batching=Batching(tokens=2_048, shapes=4),
    task=Classification(),
    model=Classifier(
        encoder=Transformer(
            encoder_layers=2,
            decoder_layers=1,
            width=64,
            feedforward=256,
            attention=Attention(heads=4),
            norm="pre",
            dropout=0.1,
            max_length=128,
            unroll=True,
        ),
    ),
    schedule=Schedule(name="cosine", peak=2e-3, warmup=100),
    training=Training(steps=600, validate_every=200),
)
