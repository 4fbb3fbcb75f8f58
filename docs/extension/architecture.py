"""The architecture as a drawing: the layers of the package, and the imports between them."""

import tomllib
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import grimp

PACKAGE = "transformer"
ROW, BOX, WIDE, GAP = 36, 24, 250, 8
"""Pixels: the height of a row and of a box, the width of a row of boxes, the space between two."""
SETTINGS = f"{PACKAGE}.config"
"""It composes the settings of all folders, so its arrows would lead upwards and to everything."""


class Module(NamedTuple):
    """A folder or module of the package, and where it is drawn."""

    name: str
    row: int
    left: float
    width: float

    @property
    def middle(self) -> float:
        return ROW * self.row + ROW / 2


def layers(pyproject: Path) -> list[list[str]]:
    """The layers that `make lint` checks, from top to bottom."""
    contracts = tomllib.loads(pyproject.read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
    (contract,) = [contract for contract in contracts if contract["id"] == "layers"]
    return [[name.strip() for name in line.replace(":", "|").split("|")] for line in contract["layers"]]


def imports() -> Counter[tuple[str, str]]:
    """How many imports lead from one folder or module to another; imports for annotations only are left out."""
    graph = grimp.build_graph(PACKAGE, exclude_type_checking_imports=True, cache_dir=None)
    arrows: Counter[tuple[str, str]] = Counter()
    for module in graph.modules - {PACKAGE, SETTINGS}:
        for imported in graph.find_modules_directly_imported_by(module):
            ends = tuple(name.split(".")[1] for name in (module, imported) if name != PACKAGE)
            if len(ends) == 2 and ends[0] != ends[1]:
                arrows[ends[0], ends[1]] += 1
    return arrows


def needed(arrows: Counter[tuple[str, str]]) -> set[tuple[str, str]]:
    """The arrows that no path of other arrows replaces (the transitive reduction)."""
    after: dict[str, set[str]] = {}
    for start, end in arrows:
        after.setdefault(start, set()).add(end)

    def reached(start: str, without: tuple[str, str]) -> set[str]:
        seen: set[str] = set()
        waiting = [end for end in after.get(start, ()) if (start, end) != without]
        while waiting:
            node = waiting.pop()
            if node not in seen:
                seen.add(node)
                waiting += after.get(node, ())
        return seen

    return {arrow for arrow in arrows if arrow[1] not in reached(arrow[0], arrow)}


def drawing(pyproject: Path) -> str:
    """An SVG: a row for each layer, an arc for each pair of modules of which one imports the other."""
    every, arrows = layers(pyproject), imports()
    main = needed(arrows)
    modules = {}
    for row, names in enumerate(every):
        width = (WIDE - GAP * (len(names) - 1)) / len(names)
        for number, name in enumerate(names):
            modules[name] = Module(name, row, number * (width + GAP), width)
    height, right = ROW * len(every), WIDE + 330
    arcs = [_arc(modules[a], modules[b], count, strong=(a, b) in main)
            for (a, b), count in sorted(arrows.items()) if a in modules and b in modules]  # fmt: skip
    boxes = [_box(module) for module in modules.values()]
    hover = [
        f".architecture:has(.box-{name}:hover) .arc:not(.of-{name}){{opacity:.04}}"
        f".architecture:has(.box-{name}:hover) .of-{name}{{opacity:.95;stroke-width:2}}"
        for name in modules
    ]
    return (
        f'<svg class="architecture" viewBox="-4 0 {right} {height}" role="img" '
        f'aria-label="Layers of the package and the imports between them" xmlns="http://www.w3.org/2000/svg">'
        f"<style>{''.join(hover)}</style>{''.join(arcs)}{''.join(boxes)}</svg>\n"
    )


def _box(module: Module) -> str:
    top = module.middle - BOX / 2
    return (
        f'<g class="box box-{module.name}"><rect x="{module.left:.1f}" y="{top}" width="{module.width:.1f}" '
        f'height="{BOX}" rx="4"/><text x="{module.left + module.width / 2:.1f}" y="{module.middle + 4.5}" '
        f'text-anchor="middle">{module.name}</text></g>'
    )


def _arc(start: Module, end: Module, count: int, *, strong: bool) -> str:
    reach = 10 + 300 * ((end.row - start.row) / 24) ** 0.8
    x, low, high = WIDE, start.middle + 4, end.middle - 4
    kind = "arc strong" if strong else "arc"
    imports = "1 import" if count == 1 else f"{count} imports"
    return (
        f'<path class="{kind} of-{start.name} of-{end.name}" d="M{x} {low} C{x + reach:.0f} {low} {x + reach:.0f} '
        f'{high} {x} {high}"><title>{start.name} → {end.name}: {imports}</title></path>'
    )
