"""The convention of the Hansards, by its own examples."""

import runpy
from pathlib import Path

import pytest
from sacremoses import MosesTokenizer

FOLDER = Path(__file__).parent.parent.parent / "experiments" / "alignment" / "hansards"
ours = runpy.run_path(str(FOLDER / "convention.py"))


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("french", "Souvenons-nous, monsieur l'Orateur.", "Souvenons - nous , monsieur le Orateur ."),
        ("french", "Ma question s'adresse au ministre chargé des transports.",
         "Ma question se adresse à le ministre chargé de les transports ."),
        ("french", "Je crois qu’il a pris du temps aujourd'hui.", "Je crois que il a pris de le temps aujourd' hui ."),
        ("english", "The Minister's statement doesn't help; we can't say we're glad.",
         "The Minister 's statement does not help ; we cannot say we are glad ."),
        ("english", "It won't, I'm told.", "It will not , I am told ."),
    ],
)  # fmt: skip
def test_sentences_by_hand(language, text, expected):
    tokenizer = MosesTokenizer(lang=language[:2])
    assert " ".join(ours[language](text, tokenizer)) == expected


def test_the_first_word_is_written_as_elsewhere():
    sentences = [s.split() for s in ("Mr. Speaker , the House", "The House", "Speaker , Mr. Smith", "Never", "")]
    expected = ["Mr. Speaker , the House", "the House", "Speaker , Mr. Smith", "never", ""]
    assert ours["usual_case"](sentences) == expected
