"""WMT14 English-German as Luong et al. 2015: local-p, general, input feeding, unknown words replaced (one model).

transformer data prepare luong_wmt14
transformer train luong_wmt14
transformer evaluate runs/luong_wmt14

"Effective Approaches to Attention-based Neural Machine Translation", Table 1: 20.9 tokenised BLEU on newstest2014, 19.0
without replacing unknown words, perplexity 5.9. As published (section 4.1): 4 layers of 1000 LSTM cells, embeddings of
1000, the source reversed, 50,000 words per side, sentences of at most 50 words, batches of 128 sentences, plain
gradient descent with rate 1, clipped at 5, dropout 0.2; 12 epochs, the rate halved after each from the 8th on. An epoch
is 4.5 million pairs, so 35,000 updates. (The paper initialises weights uniformly in [-0.1, 0.1]; this recipe uses
Flax's defaults.)

Estimated, not measured (experiments/throughput/estimate.py): 3.0e12 useful operations per update (128 rows of 32 + 32
real tokens), so 1.26e18 in all: 3.5 hours on one H100, 11 on one A100, at 10% of their peaks (989e12 and 312e12 per
second), as steps of 128 rows do not saturate an accelerator. Memory: 222 million parameters x 8 bytes (parameter,
gradient) = 1.7 GiB; activations, 128 rows x 51 + 51 tokens x 4 layers x 1,000 x about 12 values x 4 bytes = 2.5 GiB;
logits of 2,048 tokens x 50,000 x 4 bytes x 2 = 0.8 GiB: about 5 GiB. (The paper: 7 to 10 days on a Tesla K40.)

The papers count words of tokenised text. TFDS's text is raw, and words are separated by spaces here ("dog." is one
word), so for comparable figures tokenise the text first and name it with `--data.source files`.

Run: `--smoke` only. Not run at full size: no accelerator was available.
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
    Translation,
)

EPOCH = 35_000

config = Config(
    data=Data(
        source="tfds:wmt14_translate/de-en",
        languages=("en", "de"),
        train="train",
        validation="validation",
        test="test",
        max_length=51,  # 50 words and EOS
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
    task=Translation(label_smoothing=0.0, mean_over="sentences", metric="loss"),
    training=Training(
        steps=12 * EPOCH,
        precision="bfloat16",
        loss_chunk=2_048,
        log_every=100,
        validate_every=5_000,
    ),
    decoding=Decoding(beam=10, normalize="none", replace_unknown=True),
)
