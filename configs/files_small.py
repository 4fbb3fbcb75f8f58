"""Your own parallel text, a few thousand pairs of it: a small, strongly regularised Transformer.

    transformer train files_small --data.train my/corpus --data.languages en de --run runs/mine

Pieces are few and sampled anew in every epoch (BPE-dropout), dropout is high, and training ends when validation no
longer improves. `--training.minutes` limits it.

3,000 pairs of Tatoeba English-German (short everyday sentences, 6.5 English words on average, drawn at random; seed
1): 9.0 BLEU on 2,000 other pairs (95% interval 8.2 to 9.7; beam 5, average of the last four checkpoints), after 2,869
updates in 12 minutes on one core of an AMD EPYC whose other core was busy; validation was still improving. November
2026.
"""

from transformer.config import Attention, Batching, Config, Data, Decoding, Schedule, Tokenizer, Training, Transformer

config = Config(
    data=Data(source="files", languages=("en", "de"), max_length=64),
    tokenizer=Tokenizer(kind="bpe", vocabulary=2_000, joint=True, sampling=0.1),
    batching=Batching(tokens=1_024, shapes=4),
    model=Transformer(
        encoder_layers=3,
        decoder_layers=3,
        width=128,
        feedforward=256,
        attention=Attention(heads=4),
        dropout=0.3,
        norm="pre",
        unroll=True,
    ),
    schedule=Schedule(name="inverse_sqrt", peak=2e-3, warmup=400),
    training=Training(steps=20_000, validate_every=250, patience=6, keep_last=4, average="last"),
    decoding=Decoding(beam=5, length_penalty=1.0),
)
