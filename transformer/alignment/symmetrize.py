"""Symmetrisation: the alignments of both directions combined into one (Och and Ney 2003; Koehn 2003).

Links of both are (source word, target word) of the first direction.
"""

from collections.abc import Callable, Iterable
from typing import TypeVar

from transformer.alignment.links import Links

NEIGHBOURS = ((-1, 0), (0, -1), (1, 0), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1))


MaybeLinks = TypeVar("MaybeLinks", Links, Links | None)
"""Links, or None for a pair that was not aligned."""


def transpose(every: Iterable[MaybeLinks]) -> list[MaybeLinks]:
    """Links of each pair with source and target swapped; None stays None."""
    return [None if links is None else frozenset((s, t) for t, s in links) for links in every]


def intersection(forward: Links, backward: Links) -> Links:
    """Links in both directions: high precision."""
    return forward & backward


def union(forward: Links, backward: Links) -> Links:
    """Links in either direction: high recall."""
    return forward | backward


def grow_diag(forward: Links, backward: Links) -> Links:
    """Grow the intersection towards the union (Koehn 2005, "Edinburgh System Description"): repeatedly add links of the
    union that neighbour an added one, diagonals included, and have an unlinked word."""
    either, added = forward | backward, set(forward & backward)
    sources, targets = {s for s, _ in added}, {t for _, t in added}
    candidates, before = _in_order(either), -1
    while len(added) != before:
        before = len(added)
        for s, t in candidates:
            for down, right in NEIGHBOURS if (s, t) in added else ():
                link = (s + down, t + right)
                if link in either and link not in added and not (link[0] in sources and link[1] in targets):
                    added.add(link)
                    sources.add(link[0])
                    targets.add(link[1])
    return frozenset(added)


def grow_diag_final_and(forward: Links, backward: Links) -> Links:
    """`grow_diag`, and then the links of the union whose words are both unlinked (Koehn 2005), those of `forward`
    first."""
    added = set(grow_diag(forward, backward))
    sources, targets = {s for s, _ in added}, {t for _, t in added}
    for direction in (forward, backward):
        for link in _in_order(direction):
            if link[0] not in sources and link[1] not in targets:
                added.add(link)
                sources.add(link[0])
                targets.add(link[1])
    return frozenset(added)


def _in_order(links: Links) -> list[tuple[int, int]]:
    """Target word by target word, as in the original: results depend on the order."""
    return sorted(links, key=lambda link: link[::-1])


SYMMETRIZATIONS: dict[str, Callable[[Links, Links], Links]] = {
    "intersection": intersection,
    "union": union,
    "grow-diag": grow_diag,
    "grow-diag-final-and": grow_diag_final_and,
}
"""All methods by name."""


def symmetrize(how: str, forward: Iterable[Links | None], backward: Iterable[Links | None]) -> list[Links | None]:
    """Both directions of every pair combined by a method of SYMMETRIZATIONS; None where either direction has none."""
    combine = SYMMETRIZATIONS[how]
    return [
        None if ahead is None or back is None else combine(ahead, back)
        for ahead, back in zip(forward, backward, strict=True)
    ]
