"""The structures that a state of an index wants: kept, grown, or built anew and measured."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from sensorium.errors import DataError
from sensorium.retrieval.durable import force
from sensorium.retrieval.exact import require_faiss
from sensorium.retrieval.manifest import WHOLE, Manifest, StructureFacts
from sensorium.retrieval.snapshot import Snapshot
from sensorium.retrieval.space import EXACT_VECTORS, Space, tuned
from sensorium.retrieval.structure import Structure, built, chosen_structure, extended

Progress = Callable[[str, int, int], None]
"""Called with (what, done, in all)."""


def with_structures(folder: Path, state: Manifest, progress: Progress) -> Manifest:
    """The state with the structures that it wants: none over few vectors, new ones, or old ones with more in them."""
    view = Snapshot(folder, state, structures=False)
    found: dict[str, StructureFacts] = {}
    for name, space in view.spaces.items():
        kind = chosen_structure(state.structure, len(space), state.width)
        facts = state.structures.get(name)
        if kind == "flat":
            continue
        if facts is not None and facts.kind == kind and len(space) - facts.size <= EXACT_VECTORS // 4:
            found[name] = facts
            continue
        others = [other for key, other in view.spaces.items()
                  if key != name and (WHOLE in (key, name) or (state.model is not None and state.model.aligned))]
        found[name] = _structure(folder, state, view, name, kind, others, progress)
    return state.model_copy(update={"structures": found})


def _structure(
    folder: Path, state: Manifest, view: Snapshot, name: str, kind: str, others: Sequence[Space], progress: Progress,
) -> StructureFacts:
    """Build the structure of a space, or add to the old one, and measure it."""
    faiss = require_faiss()
    space, old = view.spaces[name], state.structures.get(name)
    started = time.monotonic()
    what = f"{kind} over {name or 'whole rows'}"

    def told(done: int) -> None:
        progress(what, done, len(space))

    told(0)
    if old is not None and old.kind == kind:
        index = faiss.read_index(str(folder / old.name))  # a mapped one cannot grow
        extended(index, space.blocks(old.size), told)
    else:
        index = built(kind, state.width, len(space), space.blocks, told)
    file = f"structure-{secrets.token_hex(6)}"
    try:
        faiss.write_index(index, str(folder / file))
    except RuntimeError as error:  # faiss says so of a full disk
        raise DataError(f"cannot write {str(folder / file)!r}: is the disk full?") from error
    del index
    force(folder / file)
    measured = tuned(space, Structure(folder / file, kind, len(space)), others, state.wanted, view.alive,
                     lambda line: progress(f"{what}: measuring recall", len(space), len(space)))
    return StructureFacts(name=file, kind=kind, size=len(space), effort=measured.effort,
                          candidates=measured.candidates, recall=measured.recall,
                          queries=measured.queries, seconds=round(time.monotonic() - started, 3))
