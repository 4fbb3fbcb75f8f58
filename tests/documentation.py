"""The blocks of code in README, documentation and studies, and what their commands are.

`python -m tests.documentation` prints how many there are of each kind.
"""

import re
import shlex
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
FENCE = re.compile(r"^```+(?:(sh|console|python)|\{code-cell\} python)?")
MADE = ("_build", "generated", "experiments")
"""Folders of docs/ that are built."""
SEPARATORS = {"|", "||", "&&", ";", "&"}
KEYWORDS = {
    "for",
    "do",
    "done",
    "export",
    "unset",
    "cd",
    "source",
    "tensorboard",
    "echo",
    "git",
    "true",
    "sbatch",
    "paste",
    "head",
    "rm",
}
"""Shell words whose commands are not checked."""


class Block(NamedTuple):
    """A block of code: shell, Python, a cell that the build executes, or a file that a cell writes."""

    page: str
    line: int
    kind: str
    text: str

    @property
    def file(self) -> str | None:
        """The name of the file that a block of Python is, given by its first line."""
        found = re.match(r"(?:# |%%writefile )([\w/]+\.py)\n", self.text)
        return found[1] if found else None

    @property
    def code(self) -> str:
        """Without magics."""
        return re.sub(r"^%.*\n", "", self.text, flags=re.M)


def pages() -> list[Path]:
    """README, the sources of the documentation, and the studies' texts, which are pages too."""
    docs = sorted(path for path in (ROOT / "docs").rglob("*.md") if not set(path.relative_to(ROOT).parts) & set(MADE))
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *docs, *sorted((ROOT / "experiments").glob("*/*.md"))]


def blocks(path: Path) -> list[Block]:
    """The blocks of code of a page, in order."""
    found, lines, page = [], path.read_text(encoding="utf-8").splitlines(), str(path.relative_to(ROOT))
    number = 0
    while number < len(lines):
        fence = FENCE.match(lines[number])
        if fence is None:
            number += 1
            continue
        end = next(n for n in range(number + 1, len(lines)) if lines[n].startswith("```"))
        body = [line for line in lines[number + 1 : end] if not line.startswith(":tags:")]
        text = "\n".join(body) + "\n"
        if "{code-cell}" in lines[number]:
            kind = {"%%sh": "sh cell", "%%writefile": "file cell"}.get(text.split()[0], "cell")
            found.append(Block(page, number + 1, kind, text))
        elif fence[1]:
            found.append(Block(page, number + 1, "python" if fence[1] == "python" else "sh", text))
        number = end + 1
    return found


def commands(block: Block) -> Iterator[list[str]]:
    """The simple commands of a block of shell: without comments, redirections, and settings of the environment."""
    for line in block.code.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        command: list[str] = []
        words = list(lexer)
        skip = False
        for word in [*words, ";"]:
            if word in SEPARATORS:
                if command:
                    yield command
                command = []
            elif skip or word in ("<", ">", ">>"):
                skip = not skip
            elif command or not re.fullmatch(r"[A-Z_]+=.*|do", word):
                command.append(word)


def counts() -> Counter[str]:
    """Blocks by kind, and commands of `transformer` in them."""
    found: Counter[str] = Counter()
    for block in (block for page in pages() for block in blocks(page)):
        found[block.kind] += 1
        if block.kind.startswith("sh"):
            found["commands of transformer"] += sum("transformer" in words for words in commands(block))
    return found


if __name__ == "__main__":
    print(f"{len(pages())} pages: " + ", ".join(f"{number} {kind}" for kind, number in sorted(counts().items())))
