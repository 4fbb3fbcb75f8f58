"""A peer in the same session: Hugging Face's MarianMT of base size under torch.compile in bfloat16, on the same batches
as the stage speed. It needs PyTorch with CUDA and transformers; without them one row says so."""

import time
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

from models import batches, lengths

from transformer.config import Batching


def rows(*, smoke: bool) -> Iterator[dict[str, Any]]:
    missing = [name for name in ("torch", "transformers") if find_spec(name) is None]
    if missing:
        yield {"peer": "MarianMT", "not measured": f"{', '.join(missing)} not installed"}
        return
    import torch
    from transformers import MarianConfig, MarianMTModel

    if not torch.cuda.is_available() and not smoke:
        yield {"peer": "MarianMT", "not measured": "PyTorch finds no CUDA device"}
        return
    device = "cuda" if torch.cuda.is_available() else "cpu"
    width, layers, heads, inner, vocabulary = (32, 1, 4, 64, 100) if smoke else (512, 6, 8, 2048, 37_000)
    settings = MarianConfig(
        vocab_size=vocabulary, d_model=width, encoder_layers=layers, decoder_layers=layers,
        encoder_attention_heads=heads, decoder_attention_heads=heads, encoder_ffn_dim=inner, decoder_ffn_dim=inner,
        dropout=0.1, attention_dropout=0.0, activation_dropout=0.0, activation_function="relu", scale_embedding=True,
        share_encoder_decoder_embeddings=True, tie_word_embeddings=True, pad_token_id=0, bos_token_id=2, eos_token_id=3,
        decoder_start_token_id=2, forced_eos_token_id=3, max_position_embeddings=256, use_cache=False,
    )  # fmt: skip
    net = MarianMTModel(settings).train().to(device)
    rule = torch.optim.Adam(net.parameters(), lr=1e-4, betas=(0.9, 0.98), fused=device == "cuda")
    lost = torch.nn.CrossEntropyLoss(ignore_index=0, label_smoothing=0.1)

    def update(source: Any, target_in: Any, target_out: Any) -> None:
        rule.zero_grad(set_to_none=True)
        with torch.autocast(device, torch.bfloat16):
            logits = net(input_ids=source, attention_mask=source != 0, decoder_input_ids=target_in).logits
        lost(logits.float().flatten(0, 1), target_out.flatten()).backward()
        rule.step()

    tokens, shapes = (512, 2) if smoke else (25_600, 6)
    given = batches(lengths(2_000 if smoke else 100_000), Batching(tokens=tokens, shapes=shapes, length_multiple=8),
                    vocabulary)  # fmt: skip
    tensors = [
        [torch.from_numpy(side).long().to(device) for side in (batch.source, batch.target_in, batch.target_out)]
        for batch in given.values()
    ]
    began = time.perf_counter()
    compiled = update if smoke else torch.compile(update)
    for batch in tensors:
        compiled(*batch)
    wait(device)
    compiling, updates = time.perf_counter() - began, 3 if smoke else 40
    began = time.perf_counter()
    for number in range(updates):
        compiled(*tensors[number % len(tensors)])
    wait(device)
    seconds = time.perf_counter() - began
    real = sum(int((tensors[number % len(tensors)][2] != 0).sum()) for number in range(updates))
    yield {
        "peer": f"MarianMT, torch {torch.__version__}, {'eager' if smoke else 'torch.compile'}, bfloat16",
        "target tokens/s": real / seconds,
        "ms an update": 1e3 * seconds / updates,
        "compile s": compiling,
    }


def wait(device: str) -> None:
    """Waits until the device has finished."""
    if device == "cuda":
        import torch

        torch.cuda.synchronize()
