"""The Hansards' training text, in the form of the shared task's test pairs.

    python experiments/hansards/text.py data/hansards-en-fr runs/hansards/text

The trial and test pairs of the NAACL 2003 shared task (Mihalcea and Pedersen 2003) are tokenised; the training text is
raw, and its French has no accents. The shared task's own program is not published; its convention is read off its text:
Moses' tokens, hyphens apart, and contractions written out: in French with elisions (du -> de le, l' -> le, qu'il -> que
il), in English those that can mean one thing only (don't -> do not; 's stays, apart). All text becomes lower case
without accents, trial and test too. Of the training pairs each distinct one is kept once; pairs of dev that are also in
train are left out.
"""

import re
import unicodedata
from collections.abc import Sequence
from multiprocessing import Pool
from pathlib import Path

import tyro
from sacremoses import MosesTokenizer

from transformer.data.corpora.files import read_lines
from transformer.plurals import counted

CONTRACTED = {"du": "de le", "des": "de les", "au": "a le", "aux": "a les"}
ENGLISH = {
    r"\bwon't\b": "will not",
    r"\bcan't\b": "cannot",
    r"n't\b": " not",
    r"(?<=\w)'m\b": " am",
    r"(?<=\w)'re\b": " are",
    r"(?<=\w)'ll\b": " will",
    r"(?<=\w)'ve\b": " have",
}
ELIDED = {
    "l": "le",
    "d": "de",
    "j": "je",
    "m": "me",
    "t": "te",
    "s": "se",
    "c": "ce",
    "n": "ne",
    "qu": "que",
    "jusqu": "jusque",
    "lorsqu": "lorsque",
    "puisqu": "puisque",
    "quoiqu": "quoique",
}
TOKENIZERS = {"en": MosesTokenizer(lang="en"), "fr": MosesTokenizer(lang="fr")}


def plain(text: str) -> str:
    """Lower case, without accents, with straight apostrophes."""
    apart = unicodedata.normalize("NFD", text.lower().replace("’", "'"))
    return unicodedata.normalize("NFC", "".join(c for c in apart if not unicodedata.combining(c)))


def english(sentence: str) -> str:
    """Raw English in the form of the shared task."""
    text = plain(sentence)
    for contracted, whole in ENGLISH.items():
        text = re.sub(contracted, whole, text)
    return " ".join(tokens_of(text, TOKENIZERS["en"]))


def french(sentence: str) -> str:
    """Raw French in the form of the shared task, but without accents."""
    return " ".join(written_out(tokens_of(plain(sentence), TOKENIZERS["fr"])))


RAW = {"en": english, "fr": french}


def tokens_of(text: str, tokenizer: MosesTokenizer) -> list[str]:
    """Moses' tokens, hyphens apart."""
    return re.sub(r"(?<=\w)-(?=\w)", " - ", tokenizer.tokenize(text, return_str=True, escape=False)).split()


def written_out(tokens: Sequence[str]) -> list[str]:
    """French without elisions and contractions."""
    found: list[str] = []
    for token in tokens:
        whole = ELIDED.get(token.removesuffix("'")) if token.endswith("'") else CONTRACTED.get(token)
        found += [token] if whole is None else whole.split()
    return found


def distinct(pairs: Sequence[tuple[str, str]], known: Sequence[tuple[str, str]] = ()) -> list[tuple[str, str]]:
    """Each pair once, in order; without those that are `known`, and those with an empty side."""
    left = dict.fromkeys(pair for pair in pairs if all(pair))
    for pair in known:
        left.pop(pair, None)
    return list(left)


def main(data: tyro.conf.Positional[Path], text: tyro.conf.Positional[Path]) -> None:
    """Write train, dev, trial and test, each in .en and .fr.

    Args:
        data: the folder of the raw text, with trial.gold and test.gold.
        text: a folder.
    """
    written: dict[str, list[tuple[str, str]]] = {}
    with Pool() as pool:
        for part in ("train", "dev", "trial", "test"):
            raw = part in ("train", "dev")
            sides = [
                pool.map(normalise if raw else plain, read_lines(data / f"{part}.{language}.gz"), chunksize=2_000)
                for language, normalise in RAW.items()
            ]
            pairs = list(zip(*sides, strict=True))
            written[part] = distinct(pairs, written.get("train", ())) if raw else pairs
            print(f"{part}: {counted(len(written[part]), 'pair')} of {len(pairs):,}")
    text.mkdir(parents=True, exist_ok=True)
    for part, pairs in written.items():
        for side, language in enumerate(RAW):
            lines = "".join(pair[side] + "\n" for pair in pairs)
            (text / f"{part}.{language}").write_text(lines, encoding="utf-8")


if __name__ == "__main__":
    tyro.cli(main)
