"""What frozen encoders say about a table's cells: computed once, kept on disk, read by every later step and run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from sensorium.data.cache.digest import CacheKey, content_digest
from sensorium.data.cache.store import StoredTokens, TokenStore
from sensorium.data.cache.token_cache import TokenCache
from sensorium.data.cells import Cells
from sensorium.data.kinds import TextKind
from sensorium.data.samples import Samples
from sensorium.encoders.base import StagedEncoder
from sensorium.model import Model

CELLS_AT_ONCE = 64
Report = Callable[[str], Callable[[int, int], None]]


def with_stored_features(
    model: Model, samples: Samples, *, cache: TokenCache | None = None, report: Report | None = None,
    device: torch.device | None = None, but: Collection[str] = (),
) -> Samples:
    """The same samples, with the features of frozen encoders in place of their cells.

    A cell that is in the cache is not encoded again; the others are, once, and are added to it. Where the cache cannot
    be written to, the samples are as they were for that modality.

    Args:
        model: whose encoders are asked. Only frozen ones, on cells that are not augmented, have features to store.
        samples: decoded by the model's schema.
        cache: where features are kept; the user's own folder where None.
        report: called with a modality's name for a function of (cells done, cells in all).
        device: where to compute; where the model is if None.
        but: modalities whose cells are wanted as they are, to be damaged.
    """
    replaced: dict[str, Cells] = {}
    for name, encoder in zip(samples.schema.names, model.encoders, strict=True):
        cells = samples.cells[name]
        if (not isinstance(encoder, StagedEncoder) or not encoder.cacheable or cells.stored is not None
                or name in but):
            continue
        settings: dict[str, Any] = cells.kind.model_dump(mode="json")  # type: ignore[attr-defined]
        if settings.get("augmentation", 0.0) > 0.0 or not len(cells.arrays):
            continue
        cache = TokenCache() if cache is None else cache
        options = model.recipe.model.encoders[name]
        key = CacheKey(options.name, encoder.fingerprint(), settings, options.tokens)
        digests = [_digest(cells, number, source) for number, source in enumerate(cells.arrays.sources)]
        with cache.open(key) as store:
            encoder.to(device or model.device)
            _compute(encoder.eval(), cells, store, digests, report(name) if report is not None else None)
        positions = store.find(digests)
        if (positions >= 0).all():
            replaced[name] = dataclasses.replace(cells, stored=StoredTokens(store, positions))
    return samples if not replaced else dataclasses.replace(samples, cells={**samples.cells, **replaced})


def _digest(cells: Cells, number: int, source: Any) -> str:
    """A media cell's digest is that of its file, a text's its own; else that of the decoded cell."""
    is_path = isinstance(source, str) and not isinstance(cells.kind, TextKind)
    try:
        return content_digest(Path(source) if is_path else source)
    except (OSError, TypeError):  # a file that has gone since it was decoded, an object of another make
        return content_digest(cells.arrays.get([number])[0])


def _compute(
    encoder: StagedEncoder, cells: Cells, store: TokenStore, digests: list[str],
    report: Callable[[int, int], None] | None,
) -> None:
    """Encode the cells that no run has stored; cells of about the same length together."""
    missing = store.missing(digests)
    missing = missing[np.argsort(cells.lengths[missing], kind="stable")]
    batches: list[npt.NDArray[np.int64]] = [missing[start : start + CELLS_AT_ONCE]
                                            for start in range(0, len(missing), CELLS_AT_ONCE)]
    device = next(encoder.parameters()).device
    done = 0
    with torch.inference_mode():
        for place, batch in enumerate(batches):
            if not store.writable:
                return
            if place + 1 < len(batches):
                cells.arrays.prefetch(batches[place + 1].tolist())
            tokens = encoder.features(cells.kind.collate(cells.arrays.get(batch.tolist())).to(device))
            store.add([digests[cell] for cell in batch.tolist()], tokens.values.float().cpu().numpy(),
                      tokens.mask.cpu().numpy(), None if tokens.span is None else tokens.span.float().cpu().numpy())
            done += len(batch)
            if report is not None:
                report(done, len(missing))
