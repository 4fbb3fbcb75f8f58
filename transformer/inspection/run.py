"""What the command does: from settings to text, data.json and data.png."""

from pathlib import Path

from transformer import check
from transformer.config import Config
from transformer.errors import UsageError
from transformer.inspection.draw import draw
from transformer.inspection.measure import survey
from transformer.inspection.present import show
from transformer.storage.files import write_json
from transformer.tasks.translation.prepare import prepare

FILES = ("data.json", "data.png")
"""All that the folder may hold, and what they are while they are written (`.new`)."""


def inspect(settings: Config, recipe: str, folder: Path) -> None:
    """Look at a recipe's data; print what was found and write it to a folder, in place of what was found before.

    Raises UsageError for settings that `train` would refuse, and for a folder that holds anything else.
    """
    check.everything(settings)
    _refuse(folder)
    prepared = prepare(settings, None)
    try:
        found = survey(prepared, settings)
    finally:
        prepared.close()
    print(show(found.figures, recipe))
    folder.mkdir(parents=True, exist_ok=True)
    numbers, picture = (folder / name for name in FILES)
    write_json(numbers, {"recipe": recipe, **found.figures})
    beside = folder / f"{picture.name}.new"
    draw(found, recipe, beside)
    beside.replace(picture)
    print(f"\nfigures: {numbers}   picture: {picture}")


def _refuse(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--output={folder} is no folder")
    own = {*FILES, *(f"{name}.new" for name in FILES)}
    others = sorted(path.name for path in folder.glob("*") if path.name not in own)
    if others:
        raise UsageError(f"--output={folder} holds other things ({others[0]}): name another folder")
