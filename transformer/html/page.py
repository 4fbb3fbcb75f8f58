"""A page for a browser in one file: a package's page.html, page.css and page.js with the data that they show."""

import json
import re
from importlib import resources
from pathlib import Path
from typing import Any


def write(path: Path, package: str, data: Any) -> None:
    """Joins page.html of a package, its style, its script and the data; the page needs no network and no other file.

    `{{style}}`, `{{script}}` and `{{data}}` in page.html say where each goes. The style and the script that all pages
    share, which are beside this file, come before the package's own.

    Args:
        path: the file to write, UTF-8.
        package: such as `transformer.explain`.
        data: JSON values, for an element `<script id="data" type="application/json">`.

    Raises:
        ValueError: for a number that is not finite; nothing is written then.
    """
    content = json.dumps(data, allow_nan=False, separators=(",", ":"))
    parts = {
        "style": _text("page.css", "transformer.html", package),
        "script": _text("page.js", "transformer.html", package),
        # Without "<" no text can end the script element it stands in, or open a comment there.
        "data": content.replace("<", "\\u003c"),
    }
    # All at once: what looks like a place within one of the parts stays as it is.
    page = re.sub(r"\{\{(\w+)\}\}", lambda place: parts[place[1]], _text("page.html", package))
    path.write_text(page, encoding="utf-8")


def _text(name: str, *packages: str) -> str:
    """What the files of this name in each of the packages hold, one after the other."""
    return "".join(resources.files(package).joinpath(name).read_text(encoding="utf-8") for package in packages)
