"""Multi30k English-German as published: Transformer-Tiny of Wu et al. 2021.

"Good for Misconceived Reasons: An Empirical Revisiting on the Need for Visual Context in Multimodal Machine
Translation": 41.02 lower-cased tokenised BLEU on test_2016_flickr from 8,000 updates of about 8,000 tokens, the last
ten epochs averaged, beam 5.

transformer train multi30k_ende_paper && transformer evaluate runs/multi30k_ende_paper --tokenize none

Test: 41.13 BLEU (95% interval 39.4 to 42.8; one run, seed 1; 41.44 on the validation set), beam 5, the average of the
last ten epochs; the length penalty of 1.0 was as good as any on the validation set. 115 minutes of training, in four
sittings with --resume, on 2 cores of an AMD EPYC that other programs shared (November 2026); 1.5 updates per second
when they did not, so about 95 minutes without them.
"""

from transformer.config import (
    Attention,
    Batching,
    Config,
    Data,
    Decoding,
    Optimizer,
    Schedule,
    Tokenizer,
    Training,
    Transformer,
    Translation,
)

config = Config(
    data=Data(
        source="files",
        languages=("en", "de"),
        train="data/multi30k/tok/train",
        validation="data/multi30k/tok/val",
        test="data/multi30k/tok/test_2016_flickr",
    ),
    tokenizer=Tokenizer(kind="bpe", vocabulary=10_000, joint=True),
    batching=Batching(tokens=8_192, shapes=8),
    model=Transformer(
        encoder_layers=4,
        decoder_layers=4,
        width=128,
        feedforward=256,
        attention=Attention(heads=4),
        dropout=0.3,
        unroll=True,
    ),
    optimizer=Optimizer(epsilon=1e-8, clip=0.0),
    schedule=Schedule(name="inverse_sqrt", peak=5e-3, warmup=2_000),
    # 65 updates are an epoch
    task=Translation(validate_sentences=250),
    training=Training(steps=8_000, validate_every=65, keep_last=10, average="last"),
    decoding=Decoding(beam=5, length_penalty=1.0),
)
