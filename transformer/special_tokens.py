"""The special tokens that open every vocabulary: padding, unknown word, begin and end of sentence."""

PAD, UNK, BOS, EOS = 0, 1, 2, 3
SPECIAL_TOKENS = ("<pad>", "<unk>", "<s>", "</s>")
"""Their strings, by id. In a text, the same strings are unknown words, never special tokens."""
