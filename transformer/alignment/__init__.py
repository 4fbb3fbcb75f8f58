"""What attention looked at: extracted, made into word alignments, measured, exported and drawn."""
