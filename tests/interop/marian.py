"""Folders of a MarianMTModel with weights drawn at random, and what such a model computes, in plain NumPy."""

import io
import json
import math
from pathlib import Path

import numpy as np
import sentencepiece
from safetensors.numpy import load_file, save_file

TEXT = {
    "source": ["the old man sees the dog", "a small dog sleeps", "the man and the dog sleep", "an old cat sees a man"],
    "target": ["der alte Mann sieht den Hund", "ein kleiner Hund schläft", "der Mann und der Hund schlafen"],
}
TIED = {"all": (True, True), "target": (False, True), "none": (False, False)}


def make(folder: Path, tie: str = "all", activation: str = "swish", scale: bool = True, width: int = 12) -> Path:
    """A folder with 2 + 1 layers, as `save_pretrained` of transformers 5.24 writes it; padding is the last token."""
    folder.mkdir()
    vocabularies = []
    for side, lines in TEXT.items():
        model = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines), model_writer=model, vocab_size=30 if side == "source" else 34, pad_id=-1,
            bos_id=-1, eos_id=0, unk_id=1, hard_vocab_limit=False, minloglevel=2, num_threads=1,
        )  # fmt: skip
        (folder / f"{side}.spm").write_bytes(model.getvalue())
        loaded = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
        vocabularies.append([loaded.id_to_piece(n) for n in range(loaded.get_piece_size())])
    share, tied = TIED[tie]
    size = len(set().union(*vocabularies)) + 1
    if tie == "none":  # a vocabulary for each side, filled up so that both end with the same padding token
        filled = [[*own, *(f"unused{n}" for n in range(size - 1 - len(own))), "<pad>"] for own in vocabularies]
    else:
        filled = [[*dict.fromkeys([*vocabularies[0], *vocabularies[1]]), "<pad>"]]
    for name, pieces in zip(("vocab.json", "target_vocab.json"), filled, strict=False):
        (folder / name).write_text(json.dumps({piece: n for n, piece in enumerate(pieces)}))
    config = {
        "model_type": "marian", "vocab_size": size, "decoder_vocab_size": size, "d_model": width, "encoder_layers": 2,
        "decoder_layers": 1, "encoder_ffn_dim": 10, "decoder_ffn_dim": 10, "encoder_attention_heads": 3,
        "decoder_attention_heads": 3, "activation_function": activation, "max_position_embeddings": 32,
        "scale_embedding": scale, "pad_token_id": size - 1, "decoder_start_token_id": size - 1, "eos_token_id": 0,
        "share_encoder_decoder_embeddings": share, "tie_word_embeddings": tied, "forced_eos_token_id": 0,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "generation_config.json").write_text(json.dumps({"num_beams": 2, "max_length": 13}))
    about = {"separate_vocabs": tie == "none", "source_lang": "en", "target_lang": "de"}
    (folder / "tokenizer_config.json").write_text(json.dumps(about))
    save_file(drawn(config), folder / "model.safetensors")
    return folder


def drawn(config: dict) -> dict[str, np.ndarray]:
    """Every tensor, normal with a standard deviation of 0.3, biases and scales too."""
    generator, D, F, V = np.random.default_rng(1), config["d_model"], config["encoder_ffn_dim"], config["vocab_size"]
    linear = {f"{name}_proj": (D, D) for name in "kvq"} | {"out_proj": (D, D)}
    shapes: dict[str, tuple[int, ...]] = {}
    for side, attentions in (("encoder", ["self_attn"]), ("decoder", ["self_attn", "encoder_attn"])):
        for layer in range(config[f"{side}_layers"]):
            at = f"model.{side}.layers.{layer}."
            own = {f"{name}.{part}": shape for name in attentions for part, shape in linear.items()}
            for name, shape in (own | {"fc1": (F, D), "fc2": (D, F)}).items():
                shapes |= {f"{at}{name}.weight": shape, f"{at}{name}.bias": shape[:1]}
            for name in [*(f"{name}_layer_norm" for name in attentions), "final_layer_norm"]:
                shapes |= {f"{at}{name}.weight": (D,), f"{at}{name}.bias": (D,)}
    if config["share_encoder_decoder_embeddings"]:
        shapes["model.shared.weight"] = (V, D)
    else:
        shapes |= {f"model.{side}.embed_tokens.weight": (V, D) for side in ("encoder", "decoder")}
    if not config["tie_word_embeddings"]:
        shapes["lm_head.weight"] = (V, D)
    shapes["final_logits_bias"] = (1, V)
    found = {name: 0.3 * generator.standard_normal(shape) for name, shape in sorted(shapes.items())}
    return {name: (x + name.endswith("norm.weight")).astype(np.float32) for name, x in found.items()}


def logits(folder: Path, source: list[int], target_in: list[int]) -> np.ndarray:
    """[T, V] for a sentence, its ids being those of the folder."""
    config, of = json.loads((folder / "config.json").read_text()), load_file(folder / "model.safetensors")
    D, H = config["d_model"], config["encoder_attention_heads"]
    act = {"relu": lambda x: np.maximum(x, 0), "swish": lambda x: x / (1 + np.exp(-x)),
           "gelu": lambda x: x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))}[
        config["activation_function"]]  # fmt: skip
    shared = of.get("model.shared.weight")

    def embed(side, ids):
        table = shared if shared is not None else of[f"model.{side}.embed_tokens.weight"]
        angles = np.arange(len(ids))[:, None] / 10_000 ** (2 * np.arange(D // 2)[None] / D)
        return table[ids] * (D**0.5 if config["scale_embedding"] else 1) + np.hstack([np.sin(angles), np.cos(angles)])

    def linear(name, x):
        return x @ of[f"{name}.weight"].T + of[f"{name}.bias"]

    def norm(name, x):
        x = x - x.mean(-1, keepdims=True)
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * of[f"{name}.weight"] + of[f"{name}.bias"]

    def attend(name, x, memory, causal=False):
        inputs = zip("qkv", (x, memory, memory), strict=True)
        q, k, v = (linear(f"{name}.{p}_proj", y).reshape(-1, H, D // H) for p, y in inputs)
        energies = np.einsum("thk,shk->hts", q, k) / (D // H) ** 0.5
        if causal:
            energies += np.triu(np.full((len(x), len(x)), -np.inf), 1)
        weights = np.exp(energies - energies.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        return linear(f"{name}.out_proj", np.einsum("hts,shk->thk", weights, v).reshape(-1, D))

    def run(side, x, memory=None):
        for layer in range(config[f"{side}_layers"]):
            at = f"model.{side}.layers.{layer}"
            x = norm(f"{at}.self_attn_layer_norm", x + attend(f"{at}.self_attn", x, x, memory is not None))
            if memory is not None:
                x = norm(f"{at}.encoder_attn_layer_norm", x + attend(f"{at}.encoder_attn", x, memory))
            x = norm(f"{at}.final_layer_norm", x + linear(f"{at}.fc2", act(linear(f"{at}.fc1", x))))
        return x

    hidden = run("decoder", embed("decoder", target_in), run("encoder", embed("encoder", source)))
    tied = shared if shared is not None else of["model.decoder.embed_tokens.weight"]
    return hidden @ (tied if config["tie_word_embeddings"] else of["lm_head.weight"]).T + of["final_logits_bias"][0]
