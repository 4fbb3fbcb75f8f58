"""Multi30k English-German on the published lower-cased tokenised text, in about an hour on 2 CPU cores.

transformer train multi30k_ende && transformer evaluate runs/multi30k_ende --tokenize none

Test, lower-cased tokenised BLEU, beam 5, the average of the last four checkpoints: 40.7 and 40.7 (seeds 1 and 2; 95%
interval of each about 39.0 to 42.2). Validation: 41.1 and 41.2, and the best single checkpoint was as good. The whole
command took 54 minutes (seed 1) on 2 cores of an AMD EPYC with little other load, 69 with tests running (seed 2);
November 2026.
"""

from transformer.config import Attention, Batching, Config, Data, Decoding, Schedule, Tokenizer, Training, Transformer

config = Config(
    data=Data(
        source="files",
        languages=("en", "de"),
        train="data/multi30k/tok/train",
        validation="data/multi30k/tok/val",
        test="data/multi30k/tok/test_2016_flickr",
        max_length=64,
    ),
    tokenizer=Tokenizer(kind="bpe", vocabulary=6_000, joint=True),
    batching=Batching(tokens=4_096, shapes=6),
    model=Transformer(
        encoder_layers=4,
        decoder_layers=4,
        width=128,
        feedforward=256,
        attention=Attention(heads=4),
        dropout=0.3,
        norm="pre",
        unroll=True,
    ),
    schedule=Schedule(name="cosine", peak=4e-3, warmup=1_000),
    training=Training(steps=10_000, validate_every=500, keep_last=4, average="last"),
    decoding=Decoding(beam=5, length_penalty=1.0),
)
