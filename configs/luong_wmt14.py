"""WMT14 English-German as Luong et al. 2015: local-p, general, input feeding, unknown words replaced (one model).

transformer data prepare luong_wmt14
transformer train luong_wmt14
transformer evaluate runs/luong_wmt14

"Effective Approaches to Attention-based Neural Machine Translation", Table 1: 20.9 tokenised BLEU on newstest2014, 19.0
without replacing unknown words, perplexity 5.9. As published (section 4.1): 4 layers of 1000 LSTM cells, embeddings of
1000, the source reversed, 50,000 words a side, sentences of at most 50 words, batches of 128 sentences, plain gradient
descent with rate 1, clipped at 5, dropout 0.2; 12 epochs, the rate halved after each from the 8th on. An epoch is 4.5
million pairs, so 35,000 updates. (Theirs begins from uniform weights in [-0.1, 0.1], this one from Flax's.)

{estimate}

Truly run: `--smoke`. Not run at full size: no accelerator was at hand.
"""

from transformer.config import (
    Attention,
    Batching,
    Config,
    Data,
    Decoding,
    Optimizer,
    Rnn,
    Schedule,
    Tokenizer,
    Training,
)

EPOCH = 35_000

config = Config(
    data=Data(
        source="tfds:wmt14_translate/de-en",
        languages=("en", "de"),
        train="train",
        validation="validation",
        test="test",
        max_length=51,  # 50 words and the end mark
    ),
    tokenizer=Tokenizer(kind="word", vocabulary=50_000, joint=False),
    batching=Batching(rows=128, shapes=8),
    model=Rnn(
        decoder="luong",
        cell="lstm",
        encoder_layers=4,
        decoder_layers=4,
        reverse=True,
        embedding=1_000,
        width=1_000,
        attention=Attention(score="general", window="local_p", half_width=10),
        dropout=0.2,
    ),
    optimizer=Optimizer(name="sgd", clip=5.0),
    schedule=Schedule(name="halving", peak=1.0, warmup=0, hold=8 * EPOCH, every=EPOCH),
    training=Training(
        steps=12 * EPOCH,
        precision="bfloat16",
        mean_over="sentences",
        label_smoothing=0.0,
        loss_chunk=2_048,
        log_every=100,
        validate_every=5_000,
        metric="loss",
    ),
    decoding=Decoding(beam=10, normalize="none", replace_unknown=True),
)
