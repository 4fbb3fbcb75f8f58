"""The four tokens that every vocabulary begins with."""

PAD, UNKNOWN, BEGIN, END = 0, 1, 2, 3
