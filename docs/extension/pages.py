"""Pages that are files of the repository: the studies' texts, with their pictures and links."""

import re
import shutil
from pathlib import Path

LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)#:\s]+)\)")
"""[text](target) of a target within the repository."""
QUESTION = re.compile(r"^\*\*Question\.\*\* (.+?)\n\n", re.S | re.M)
"""The first paragraph of a study's text."""


def write(path: Path, text: str) -> None:
    """Write a file unless it has this content already."""
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def copy_studies(experiments: Path, target: Path) -> None:
    """Make a page from each study's README, unchanged, and an index of them. Pictures and other texts are copied
    too."""
    names = sorted(path.parent.name for path in experiments.glob("*/README.md"))
    for name in names:
        folder = experiments / name
        for file in sorted([*folder.rglob("*.svg"), *folder.rglob("*.png")]):
            copy = target / name / file.relative_to(folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
        more = sorted(path for path in folder.glob("*.md") if path.name != "README.md")
        text = (folder / "README.md").read_text(encoding="utf-8")
        toctree = "".join(f"{path.stem.lower()}\n" for path in more)
        hidden = f"\n```{{toctree}}\n:hidden:\n\n{toctree}```\n" if more else ""
        write(target / name / "index.md", relink(text, folder, experiments) + hidden)
        for path in more:
            text = path.read_text(encoding="utf-8")
            title = "" if text.startswith("# ") else f"# {name.replace('_', ' ')}: {path.stem.replace('_', ' ')}\n\n"
            write(target / name / f"{path.stem.lower()}.md", title + relink(text, folder, experiments))
    write(target / "index.md", _index({name: experiments / name / "README.md" for name in names}))


def relink(text: str, folder: Path, experiments: Path) -> str:
    """Links between the studies' texts lead to their pages; those to other files become plain code."""

    def replace(found: re.Match[str]) -> str:
        label, target = found[1], (folder / found[2]).resolve()
        if target.suffix == ".md" and target.is_file() and experiments.resolve() in target.parents:
            study, page = target.parent.name, "index" if target.name == "README.md" else target.stem.lower()
            return f"[{label}]({page}.md)" if study == folder.name else f"[{label}](../{study}/{page}.md)"
        return f"`{label}`"

    return LINK.sub(replace, text)


def _index(texts: dict[str, Path]) -> str:
    entries = []
    for name, path in texts.items():
        text = path.read_text(encoding="utf-8")
        title, question = text.split("\n", 1)[0].removeprefix("# "), QUESTION.search(text)
        about = " ".join(question[1].split()) if question else ""
        entries.append(f"- **[{title}]({name}/index.md).** {about}\n")
    toctree = "".join(f"{name}/index\n" for name in texts)
    return (
        "# Experiments\n\n"
        "Each page is the text of a folder of `experiments/`: question, method, command, results, conclusion. Its "
        "tables and figures are made by `transformer report` from the study's `results.json`. "
        "[How we compare](../explanation/how_we_compare.md) says what the intervals and tests are.\n\n"
        f"{''.join(entries)}\n```{{toctree}}\n:hidden:\n\n{toctree}```\n"
    )
