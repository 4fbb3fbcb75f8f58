"""Text made as the Hansards of the NAACL 2003 shared task are.

python experiments/alignment/hansards/convention.py IN OUT

IN and OUT are prefixes of parallel text in English and French (IN.en or IN.en.gz). The shared task's own program is not
published; its convention is read off its text: Moses' tokens, hyphens apart, the first word as within a sentence, and
contractions written out: in French with elisions (du -> de le, l' -> le, qu'il -> que il), in English those that can
mean one thing only (don't -> do not; 's stays, apart).
"""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import tyro
from sacremoses import MosesTokenizer

from transformer.data.corpora.files import read_lines
from transformer.errors import UsageError

CONTRACTED = {"du": "de le", "des": "de les", "au": "à le", "aux": "à les"}
ENGLISH = {
    r"\bwon't\b": "will not",
    r"\b([Cc])an't\b": r"\1annot",
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


def english(sentence: str, tokenizer: MosesTokenizer) -> list[str]:
    """As its side of the Hansards."""
    text = sentence.replace("’", "'")
    for contracted, whole in ENGLISH.items():
        text = re.sub(contracted, whole, text)
    return tokens_of(text, tokenizer)


def french(sentence: str, tokenizer: MosesTokenizer) -> list[str]:
    """As its side of the Hansards."""
    return written_out(tokens_of(sentence.replace("’", "'"), tokenizer))


def tokens_of(text: str, tokenizer: MosesTokenizer) -> list[str]:
    """Moses' tokens, hyphens apart."""
    return re.sub(r"(?<=\w)-(?=\w)", " - ", tokenizer.tokenize(text, return_str=True, escape=False)).split()


def written_out(tokens: Sequence[str]) -> list[str]:
    """French without elisions and contractions; a capital stays one."""
    found: list[str] = []
    for token in tokens:
        bare = token.lower()
        whole = ELIDED.get(bare.removesuffix("'")) if bare.endswith("'") else CONTRACTED.get(bare)
        if whole is None:
            found.append(token)
        else:
            found += (whole.capitalize() if token[0].isupper() else whole).split()
    return found


def usual_case(sentences: Sequence[Sequence[str]]) -> list[str]:
    """The first word of each sentence as it is written most often elsewhere (lower case where it is never)."""
    seen: dict[str, Counter[str]] = {}
    for sentence in sentences:
        for word in sentence[1:]:
            seen.setdefault(word.lower(), Counter())[word] += 1

    def usual(word: str) -> str:
        counts = seen.get(word.lower())
        return counts.most_common(1)[0][0] if counts else word.lower()

    return [" ".join([usual(sentence[0]), *sentence[1:]]) if sentence else "" for sentence in sentences]


def main(source: tyro.conf.Positional[Path], target: tyro.conf.Positional[Path]) -> None:
    """Write OUT.en and OUT.fr.

    Args:
        source: IN, a prefix.
        target: OUT, a prefix.
    """
    for language, normalise in (("en", english), ("fr", french)):
        there = [Path(f"{source}.{language}"), Path(f"{source}.{language}.gz")]
        path = next((path for path in there if path.is_file()), None)
        if path is None:
            raise UsageError(f"no such file: {there[0]} or {there[1]}")
        tokenizer = MosesTokenizer(lang=language)
        sentences = [normalise(line, tokenizer) for line in read_lines(path)]
        out = Path(f"{target}.{language}")
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text("".join(line + "\n" for line in usual_case(sentences)), encoding="utf-8")
        print(f"{out}: {len(sentences)} sentences")


if __name__ == "__main__":
    tyro.cli(main)
