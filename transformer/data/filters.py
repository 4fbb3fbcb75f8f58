"""stub"""


class Cleaner:
    def __init__(self, rules):
        self.counts = {}

    def clean(self, s, t):
        if s and t:
            return s, t
        self.counts["empty side"] = self.counts.get("empty side", 0) + 1
