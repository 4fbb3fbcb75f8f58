"""The work of `data inspect`: from settings to text, data.json and data.png."""

from pathlib import Path

from transformer import check
from transformer.config import Config
from transformer.errors import UsageError
from transformer.inspection.draw import draw
from transformer.inspection.measure import measure
from transformer.inspection.terminal import format_figures
from transformer.storage.files import write_json
from transformer.tasks.translation.config import Translation
from transformer.tasks.translation.prepare import prepare

FILES = ("data.json", "data.png")
"""All files that the output folder may contain, and the same names with `.new` while they are written."""


def inspect(settings: Config, recipe: str, folder: Path) -> None:
    """Inspect a recipe's data; print the figures and write them to a folder, where they replace earlier ones.

    Raises:
        UsageError: settings that `train` would refuse, or a folder that contains other files.
    """
    check.everything(settings)
    if not isinstance(settings.task, Translation):
        raise UsageError("data inspect shows sentence pairs, and the recipe has another task than translation")
    _check_output(folder)
    prepared = prepare(settings, None)
    try:
        inspection = measure(prepared, settings)
    finally:
        prepared.close()
    print(format_figures(inspection.figures, recipe))
    folder.mkdir(parents=True, exist_ok=True)
    numbers, picture = (folder / name for name in FILES)
    write_json(numbers, {"recipe": recipe, **inspection.figures})
    new = folder / f"{picture.name}.new"
    draw(inspection, recipe, new)
    new.replace(picture)
    print(f"\nfigures: {numbers}   picture: {picture}")


def _check_output(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--output={folder} is not a folder")
    own = {*FILES, *(f"{name}.new" for name in FILES)}
    others = sorted(path.name for path in folder.glob("*") if path.name not in own)
    if others:
        raise UsageError(f"--output={folder} contains other files ({others[0]}): name another folder")
