"""Models trained on the Hansards' distinct pairs, both directions: transformer study experiments/hansards

Needs the text that text.py makes (README.md has the commands). readouts.py reads their attention and measures it
against the shared task's links.
"""

from transformer.config import (
    Attention,
    Batching,
    Config,
    Data,
    Decoding,
    Schedule,
    Tokenizer,
    Training,
    Transformer,
    Translation,
)
from transformer.study.variants import Study, Variant

TEXT = "runs/hansards/text"


def variant(source: str, target: str) -> Variant:
    """A small Transformer of one direction."""
    config = Config(
        data=Data(
            source="files",
            languages=(source, target),
            train=f"{TEXT}/train",
            validation=f"{TEXT}/dev",
            test=f"{TEXT}/dev",
            max_length=100,
        ),
        tokenizer=Tokenizer(kind="bpe", vocabulary=8_000, joint=True),
        batching=Batching(tokens=2_048, shapes=6),
        model=Transformer(
            encoder_layers=4,
            decoder_layers=4,
            width=128,
            feedforward=512,
            attention=Attention(heads=4),
            dropout=0.1,
            norm="pre",
            unroll=True,
        ),
        schedule=Schedule(name="cosine", peak=3e-3, warmup=600),
        task=Translation(validate_sentences=200, label_smoothing=0.1),
        training=Training(steps=7_000, validate_every=1_000, keep_last=2),
        decoding=Decoding(beam=5, length_penalty=1.0),
    )
    return Variant(config, scoring={"tokenize": "none"})


study = Study({"transformer_en_fr": variant("en", "fr"), "transformer_fr_en": variant("fr", "en")})
