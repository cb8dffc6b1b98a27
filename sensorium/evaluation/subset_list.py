"""Which subsets of modalities an evaluation scores."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations

from sensorium.errors import DataError

MAX_ALL = 5


def subsets_to_score(names: tuple[str, ...], patterns: Iterable[frozenset[str]] = ()) -> list[tuple[str, ...]]:
    """Every non-empty subset up to five modalities; beyond, the ones that say most.

    Beyond five: each modality alone, all but each one, all of them, and the patterns that rows of the data have.

    Args:
        names: the schema's modalities, in its order.
        patterns: which modalities the rows of the data have; an empty pattern (nothing present) is not scored.

    Returns:
        Subsets without repeats, by size, then in the schema's order; names within a subset in the schema's order.

    Raises:
        DataError: a name repeats, or a pattern has a name that the schema lacks.

    Example:
        >>> subsets_to_score(("photo", "note"))
        [('photo',), ('note',), ('photo', 'note')]
    """
    place = {name: position for position, name in enumerate(names)}
    if len(place) != len(names):
        raise DataError(f"expected each modality once, found {list(names)!r}")
    chosen: set[tuple[int, ...]] = set()
    for pattern in patterns:
        strangers = sorted(pattern - place.keys())
        if strangers:
            raise DataError(f"a row's modalities include {strangers!r}, which the schema lacks: "
                            f"it has {list(names)!r}")
        if pattern:
            chosen.add(tuple(sorted(place[name] for name in pattern)))
    every = range(len(names))
    sizes = every if len(names) <= MAX_ALL else sorted({0, len(names) - 2, len(names) - 1})
    for size in sizes:
        chosen.update(combinations(every, size + 1))
    return [tuple(names[position] for position in subset) for subset in sorted(chosen, key=lambda s: (len(s), s))]
