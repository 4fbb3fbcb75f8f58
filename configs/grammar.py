"""The embedded grammar, English to German: the recipe for comparisons of attention mechanisms.

transformer train grammar && transformer evaluate runs/grammar

100,000 pairs, 5,000 updates. Validation BLEU 94.6 after 2,000 updates, 98.8 after 4,000. Test: 99.3 BLEU (95% interval
99.0 to 99.6); unseen constructions: 95.3. 23.7 minutes on 2 cores of an AMD EPYC that other programs shared (one run,
seed 1, November 2026).
"""

from transformer.config import Attention, Batching, Config, Decoding, Schedule, Tokenizer, Training, Transformer

config = Config(
    tokenizer=Tokenizer(kind="bpe", vocabulary=3_000, joint=True),
    batching=Batching(tokens=2_048, shapes=5),
    model=Transformer(
        encoder_layers=3,
        decoder_layers=3,
        width=128,
        feedforward=512,
        attention=Attention(heads=4),
        norm="pre",
        dropout=0.1,
        max_length=128,
        unroll=True,
    ),
    schedule=Schedule(name="cosine", peak=3e-3, warmup=400),
    training=Training(steps=5_000, validate_every=1_000),
    decoding=Decoding(beam=4, length_penalty=0.6),
)
