"""A small GPT-2 in a folder of Hugging Face, and its logits in plain NumPy, from its equations."""

import json

import numpy as np
from safetensors.numpy import save_file

from transformer.data.config import Tokenizer
from transformer.data.tokenizers.byte_bpe import ByteBpeTokenizer

LINES = ["the old dog sleeps", "an older dog's sleep", "sleepy dogs  sleep"]
D, H, L, P = 12, 3, 2, 16
"""Width, heads, layers, positions."""


def make(folder):
    """Write config.json, model.safetensors, vocab.json and merges.txt; the vocabulary has 277 entries."""
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary, merges = ByteBpeTokenizer.train(Tokenizer(kind="byte_bpe", vocabulary=281), LINES).gpt2_files()
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text(merges)
    config = {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "n_embd": D, "n_head": H, "n_layer": L,
              "n_positions": P, "vocab_size": len(vocabulary), "activation_function": "gelu_new",
              "bos_token_id": len(vocabulary) - 1, "eos_token_id": len(vocabulary) - 1}  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    random = np.random.default_rng(0)
    shapes = {"wte.weight": (len(vocabulary), D), "wpe.weight": (P, D), "ln_f.weight": (D,), "ln_f.bias": (D,)}
    for n in range(L):
        shapes |= {f"h.{n}.{name}": shape for name, shape in {
            "ln_1.weight": (D,), "ln_1.bias": (D,), "ln_2.weight": (D,), "ln_2.bias": (D,),
            "attn.c_attn.weight": (D, 3 * D), "attn.c_attn.bias": (3 * D,),
            "attn.c_proj.weight": (D, D), "attn.c_proj.bias": (D,),
            "mlp.c_fc.weight": (D, 4 * D), "mlp.c_fc.bias": (4 * D,),
            "mlp.c_proj.weight": (4 * D, D), "mlp.c_proj.bias": (D,),
        }.items()}  # fmt: skip
    made = {f"transformer.{name}": (0.4 * random.normal(size=shape)).astype(np.float32)
            for name, shape in shapes.items()}  # fmt: skip
    save_file(made, folder / "model.safetensors", {"format": "pt"})
    return vocabulary, {name.removeprefix("transformer."): value.astype(np.float64) for name, value in made.items()}


def logits(p, ids):
    """[T, V] of the token after each of these."""

    def norm(x, name):
        scaled = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
        return scaled * p[f"{name}.weight"] + p[f"{name}.bias"]

    x = p["wte.weight"][ids] + p["wpe.weight"][: len(ids)]
    past = np.tril(np.ones((len(ids), len(ids)), bool))
    for n in range(L):
        query, key, value = np.split(
            norm(x, f"h.{n}.ln_1") @ p[f"h.{n}.attn.c_attn.weight"] + p[f"h.{n}.attn.c_attn.bias"], 3, -1
        )
        heads = []
        for h in range(H):
            part = slice(h * D // H, (h + 1) * D // H)
            energies = np.where(past, query[:, part] @ key[:, part].T / np.sqrt(D // H), -np.inf)
            weights = np.exp(energies - energies.max(-1, keepdims=True))
            heads.append(weights / weights.sum(-1, keepdims=True) @ value[:, part])
        x = x + np.concatenate(heads, -1) @ p[f"h.{n}.attn.c_proj.weight"] + p[f"h.{n}.attn.c_proj.bias"]
        inner = norm(x, f"h.{n}.ln_2") @ p[f"h.{n}.mlp.c_fc.weight"] + p[f"h.{n}.mlp.c_fc.bias"]
        inner = 0.5 * inner * (1 + np.tanh(np.sqrt(2 / np.pi) * (inner + 0.044715 * inner**3)))
        x = x + inner @ p[f"h.{n}.mlp.c_proj.weight"] + p[f"h.{n}.mlp.c_proj.bias"]
    return norm(x, "ln_f") @ p["wte.weight"].T
