"""The Sphinx extension: files and runs that are made before the pages are read, and the conversion of docstrings."""

import re
from pathlib import Path
from typing import Any

from docs.extension import architecture, drawings, pages, pictures, reference, shared_run

OUTSIDE_CODE = re.compile(r"(`+)(.+?)\1|([*|]|_(?=\W|$))", re.S)
"""A piece of code, or a character that reStructuredText would take for markup."""


def setup(app: Any) -> dict[str, Any]:
    """Called by Sphinx."""
    app.setup_extension("sphinx.ext.autodoc")  # whose events are used
    app.connect("builder-inited", prepare)
    app.connect("autodoc-process-docstring", docstring, priority=100)  # before napoleon reads the sections
    return {"parallel_read_safe": False, "parallel_write_safe": True}


def prepare(app: Any) -> None:
    """Write the files that pages include, and train the run that the notebooks share."""
    docs = Path(app.srcdir)
    generate(docs)
    if app.config.nb_execution_mode != "off":
        shared_run.train(docs / "_build" / "work")


def generate(docs: Path) -> None:
    """Write everything that is made from the code: fragments and pictures into `generated/`, pages into their folders.

    Files whose content stays are left alone, so that Sphinx reads only what has changed.
    """
    root, generated = docs.parent, docs / "generated"
    texts = {
        "commands.md": reference.commands(),
        "settings.md": reference.settings(),
        "recipes.md": reference.recipes_page(),
        "scores.md": reference.scores(),
        "windows.md": reference.windows(),
        "normalizers.md": reference.normalizers(),
        "families.md": reference.families(),
        "architecture.svg": architecture.drawing(root / "pyproject.toml"),
        "training.svg": drawings.training(),
        "inference.svg": drawings.inference(),
    }
    for name, text in texts.items():
        pages.write(generated / name, text)
    pictures.draw_all(generated)
    pages.copy_studies(root / "experiments", docs / "experiments")


def docstring(app: Any, what: str, name: str, item: Any, options: Any, lines: list[str]) -> None:
    """Docstrings are plain text with `code`, as in Markdown; here they become reStructuredText."""
    lines[:] = to_rst("\n".join(lines)).split("\n")
    if what in ("attribute", "data", "property"):
        lines.insert(0, "")  # napoleon takes a first line "What it is: more" for a type with its description


def to_rst(text: str) -> str:
    """Text with `code` as reStructuredText, in which nothing else is markup."""

    def replace(found: re.Match[str]) -> str:
        return f"``{found[2]}``" if found[1] else "\\" + found[3]

    return OUTSIDE_CODE.sub(replace, text)
