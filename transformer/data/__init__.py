"""From parallel text to batches: corpus (pairs of str) -> tokenizer -> examples on disk -> plan -> batches."""
