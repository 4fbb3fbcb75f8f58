"""Self-contained HTML pages: a package's page.html, page.css and page.js joined with their data."""

import json
import re
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any


def write(path: Path, package: str, data: Any, shared: Sequence[str] = ()) -> None:
    """Write page.html of a package with its style, its script and the data; the page needs no network and no other
    file.

    `{{head}}`, `{{style}}`, `{{script}}` and `{{data}}` in page.html are replaced. The head, style and script that all
    pages share, in this folder, come first; then the style and script that the pages of some packages share; the
    package's own are last.

    Args:
        path: the file to write, UTF-8.
        package: such as `transformer.explain`.
        data: JSON values, for an element `<script id="data" type="application/json">`.
        shared: packages whose style and script precede the package's own.

    Raises:
        ValueError: a number is not finite; nothing is written.
    """
    content = json.dumps(data, allow_nan=False, separators=(",", ":"))
    packages = ("transformer.html", *shared, package)
    parts = {
        "head": _text("head.html", "transformer.html"),
        "style": _text("page.css", *packages),
        "script": _text("page.js", *packages),
        # Without "<" no text can end the script element or open a comment in it.
        "data": content.replace("<", "\\u003c"),
    }
    # In one pass, so that placeholders within the parts are not replaced.
    page = re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], _text("page.html", package))
    path.write_text(page, encoding="utf-8")


def _text(name: str, *packages: str) -> str:
    """The concatenated files of this name of the packages that have one."""
    files = [resources.files(package).joinpath(name) for package in packages]
    return "".join(file.read_text(encoding="utf-8") for file in files if file.is_file())
