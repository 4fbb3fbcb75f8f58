"""Self-contained HTML pages: a package's page.html, page.css and page.js joined with their data."""

import json
import re
from importlib import resources
from pathlib import Path
from typing import Any


def write(path: Path, package: str, data: Any) -> None:
    """Write page.html of a package with its style, its script and the data; the page needs no network and no other
    file.

    `{{style}}`, `{{script}}` and `{{data}}` in page.html are replaced. The style and the script that all pages share,
    in this folder, precede the package's own.

    Args:
        path: the file to write, UTF-8.
        package: such as `transformer.explain`.
        data: JSON values, for an element `<script id="data" type="application/json">`.

    Raises:
        ValueError: a number is not finite; nothing is written.
    """
    content = json.dumps(data, allow_nan=False, separators=(",", ":"))
    parts = {
        "style": _text("page.css", "transformer.html", package),
        "script": _text("page.js", "transformer.html", package),
        # Without "<" no text can end the script element or open a comment in it.
        "data": content.replace("<", "\\u003c"),
    }
    # In one pass, so that placeholders within the parts are not replaced.
    page = re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], _text("page.html", package))
    path.write_text(page, encoding="utf-8")


def _text(name: str, *packages: str) -> str:
    """The concatenated files of this name of the packages."""
    return "".join(resources.files(package).joinpath(name).read_text(encoding="utf-8") for package in packages)
