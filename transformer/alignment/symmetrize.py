"""Two alignments of a pair, one from each direction, made into one (Och and Ney 2003; Koehn 2003).

Both are given as (source word, target word) of the first direction.
"""

from collections.abc import Callable, Iterable

from transformer.alignment.links import Links

AROUND = ((-1, 0), (0, -1), (1, 0), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1))


def turned(every: Iterable[Links]) -> list[Links]:
    """Links of the other direction, as of this one."""
    return [frozenset((s, t) for t, s in links) for links in every]


def intersection(forward: Links, backward: Links) -> Links:
    """Links that both directions have: precise, and few."""
    return forward & backward


def union(forward: Links, backward: Links) -> Links:
    """Links that either has: many."""
    return forward | backward


def grow_diag_final_and(forward: Links, backward: Links) -> Links:
    """From the intersection out to the union (Koehn 2005, "Edinburgh System Description").

    grow-diag: a link of the union that neighbours one already taken, diagonally too, is taken where one of its words
    has none yet, until nothing more is. final-and: then links of the union of which both words have none yet.
    """
    either, taken = forward | backward, set(forward & backward)
    sources, targets = {s for s, _ in taken}, {t for _, t in taken}
    # Word by word, as it has always been done: which link is taken first decides over others.
    places = sorted(either, key=lambda link: link[::-1])

    def take(link: tuple[int, int]) -> None:
        taken.add(link)
        sources.add(link[0])
        targets.add(link[1])

    before = -1
    while len(taken) != before:
        before = len(taken)
        for s, t in places:
            for down, right in AROUND if (s, t) in taken else ():
                link = (s + down, t + right)
                if link in either and link not in taken and not (link[0] in sources and link[1] in targets):
                    take(link)
    for direction in (forward, backward):
        for link in places:
            if link in direction and link[0] not in sources and link[1] not in targets:
                take(link)
    return frozenset(taken)


SYMMETRIZATIONS: dict[str, Callable[[Links, Links], Links]] = {
    "intersection": intersection,
    "union": union,
    "grow-diag-final-and": grow_diag_final_and,
}
"""Every way by name."""
