"""The parts of the pages that are made from the code: text and drawings."""

import ast
import re
from collections import Counter
from dataclasses import dataclass
from typing import Annotated, Literal

import pytest
from annotated_types import Ge

from docs.extension import architecture, drawings, pages, reference
from docs.extension.build import to_rst
from tests.documentation import ROOT


@dataclass(frozen=True)
class Part:
    """A part."""

    width: Annotated[int, Ge(2)] = 4
    """How wide
    it is."""
    kind: Literal["a", "b"] = "b"
    names: tuple[str, ...] = ("x", "y")
    """Names."""


def test_a_setting_has_its_type_default_range_and_text():
    options = list(reference._options(Part, Part(), "part"))
    assert options[0] == "```{option} --part.width <integer>\nHow wide\nit is.\n\nDefault: `4`; at least 2.\n```\n"
    assert options[1].startswith("```{option} --part.kind <a|b>\n")
    assert "--part.names <text ...>" in options[2]
    assert "Default: `x y`" in options[2]


def test_every_option_of_the_command_line_is_in_the_reference():
    flags = set(re.findall(r"^\W*(--[\w-]+\.[\w.-]+) ", reference.help_of("train"), re.M))
    assert len(flags) > 50
    settings = reference.settings()
    assert {flag for flag in flags if f"{{option}} {flag} <" not in settings} == set()


def test_every_command_has_a_section_with_its_help():
    text = reference.commands()
    assert "## `transformer data inspect`" in text
    assert text.count("usage: transformer ") == text.count("\n```text\n")


def test_docstrings_become_restructured_text():
    assert to_rst("`a*b` of [*B T], x_ and |y|") == r"``a*b`` of [\*B T], x\_ and \|y\|"


def test_links_between_studies_lead_to_pages(tmp_path):
    for name in ("one/README.md", "two/README.md", "two/LOG.md", "two/data.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    text = "[a](../one/README.md) [b](LOG.md) [c](data.json) ![d](d.svg)"
    assert pages.relink(text, tmp_path / "two", tmp_path) == "[a](../one/index.md) [b](log.md) `c` ![d](d.svg)"


def imports_by_hand() -> Counter[tuple[str, str]]:
    """Pairs of folders and modules of which one imports the other, from the syntax trees."""
    found: Counter[tuple[str, str]] = Counter()
    for path in (ROOT / "transformer").rglob("*.py"):
        start = path.relative_to(ROOT / "transformer").parts[0].removesuffix(".py")
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                node.body = []
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("transformer"):
                names = node.module.split(".")[1:2] or [alias.name for alias in node.names]
                found.update((start, end) for end in names if end != start)
    return found


def test_the_drawing_has_the_arrows_of_the_imports_and_all_lead_down():
    arrows, by_hand = architecture.imports(), imports_by_hand()
    names = {arrow for arrow in by_hand if arrow[0] not in ("__init__", "config")}
    assert names == set(arrows)
    rows = {name: row for row, line in enumerate(architecture.layers(ROOT / "pyproject.toml")) for name in line}
    assert {end for arrow in arrows for end in arrow} <= set(rows)
    assert [arrow for arrow in arrows if rows[arrow[0]] > rows[arrow[1]]] == []
    drawn = architecture.drawing(ROOT / "pyproject.toml")
    assert drawn.count('<path class="arc') == len(arrows)
    assert drawn.count('<g class="box') == len(rows)


def test_implied_arrows_are_removed():
    arrows = Counter({("a", "b"): 1, ("b", "c"): 1, ("a", "c"): 3, ("a", "d"): 1})
    assert architecture.needed(arrows) == {("a", "b"), ("b", "c"), ("a", "d")}


def test_the_decoder_reads_the_target_shifted_right():
    assert drawings.READ[0] == "<s>"
    assert drawings.READ[1:] == drawings.TARGET[:-1]
    assert drawings.TARGET[-1] == "</s>"
    for drawing in (drawings.training(), drawings.inference()):
        assert drawing.count("&lt;s&gt;</text>") == 1


@pytest.mark.parametrize("name", ["dot", "location", "cosine"])
def test_the_pictures_energies_are_those_of_the_equations(name):
    import numpy as np

    from docs.extension import pictures

    keys = np.array([[1.0, 0.5], [-0.3, 2.0]], np.float32)
    query = np.array(pictures.QUERY)
    found = pictures.energies(name, keys)
    if name == "dot":
        np.testing.assert_allclose(found, keys @ query, rtol=1e-5)
    elif name == "location":
        assert found[0] == found[1]
    else:
        ratio = found[0] / found[1]
        cosines = keys @ query / np.linalg.norm(keys, axis=1)
        assert ratio == pytest.approx(cosines[0] / cosines[1], rel=1e-5)
