"""Self-attention step by step, on one sentence of a trained run."""
