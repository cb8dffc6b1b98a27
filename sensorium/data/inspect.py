"""Inspect: what every column is, what is missing, what cannot be read, what gives the target away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from sensorium.data.kinds import TableKind
from sensorium.data.leak import Leak, find_leaks
from sensorium.data.read import Data, default_memory, default_workers
from sensorium.data.samples import Samples, decoded, measured

SHOWN = 20


@dataclass(frozen=True)
class Inspection:
    """What was found in a table.

    Args:
        data: the table.
        samples: decoded.
        leaks: columns that give a target away.
    """

    data: Data
    samples: Samples
    leaks: list[Leak]

    def to_json(self) -> dict[str, Any]:
        """Plain values, as `sensorium inspect --json` prints them."""
        samples = self.samples
        return {
            "rows": len(samples),
            "modalities": [{"name": m.name, "kind": m.kind.name, "columns": list(m.columns), "reason": m.reason,
                            "settings": m.kind.model_dump(mode="json", exclude={"columns", "kind"}),
                            "missing": int((~samples.presence[:, place]).sum()),
                            "blank": samples.cells[m.name].num_blank,
                            "missing_by_column": self.missing_by_column(m.name),
                            "unreadable": len(samples.cells[m.name].unreadable)}
                           for place, m in enumerate(samples.schema.modalities)],
            "targets": [{"name": t.name, "task": t.task, "classes": self.class_counts(t.name), "reason": t.reason,
                         "missing": int((~samples.labels[t.name].mask).sum())} for t in samples.schema.targets],
            "ignored": samples.schema.ignored,
            "group": samples.schema.group,
            "split": samples.schema.split,
            "unreadable": [vars(cell) for cell in samples.unreadable],
            "leaks": [vars(leak) for leak in self.leaks],
            "notes": list(samples.notes),
            "duplicates": self.num_duplicates,
        }

    @property
    def num_duplicates(self) -> int:
        """Rows that repeat an earlier row, cell for cell."""
        frame = self.data.table.frame
        if any(dtype == pl.Object for dtype in frame.dtypes):
            return 0
        return frame.height - frame.n_unique()

    def missing_by_column(self, name: str) -> dict[str, int]:
        """column → rows without a usable value in it, for a table modality; empty for the others."""
        modality = self.samples.schema.modality(name)
        if not isinstance(modality.kind, TableKind):
            return {}
        arrays = self.samples.cells[name].arrays
        known = sum((~np.isnan(row) for row in arrays.get(range(len(arrays)))), np.zeros(len(modality.columns), int))
        return {column: len(self.samples) - int(count) for column, count in zip(modality.columns, known, strict=True)}

    def class_counts(self, name: str) -> dict[str, int]:
        """class → rows, for a classified target."""
        target = next(t for t in self.samples.schema.targets if t.name == name)
        if target.task == "regress":
            return {}
        labels = self.samples.labels[name]
        counts = np.bincount(labels.values[labels.mask].astype(np.int64), minlength=len(target.classes))
        return dict(zip(target.classes, map(int, counts), strict=True))

    def lines(self) -> list[str]:
        """What a person reads in a terminal."""
        samples = self.samples
        lines = [f"{self.data.table.source}: {len(samples)} rows, {self.data.table.frame.width} columns",
                 *samples.notes, *samples.schema.lines(), ""]
        if self.num_duplicates:
            lines.append(f"{self.num_duplicates} rows repeat an earlier row, cell for cell")
        for place, name in enumerate(samples.schema.names):
            cells = samples.cells[name]
            missing = int((~samples.presence[:, place]).sum())
            lines.append(f"{name}: {len(samples) - missing} present, {missing} missing ({cells.num_blank} blank, "
                         f"{len(cells.unreadable)} cells unreadable), {len(cells.arrays)} different")
            gaps = {column: count for column, count in self.missing_by_column(name).items() if count}
            if gaps:
                lines.append(f"{name}: missing inside its rows: " + ", ".join(f"{c} {n}" for c, n in gaps.items()))
        for target in samples.schema.targets:
            missing = int((~samples.labels[target.name].mask).sum())
            counts = sorted(self.class_counts(target.name).items(), key=lambda item: -item[1])
            shown = ", ".join(f"{label} {count}" for label, count in counts[:12]) + (" …" if len(counts) > 12 else "")
            lines.append(f"target {target.name}: {missing} rows without a label{'; ' + shown if shown else ''}")
        lines += [f"unreadable: {cell}" for cell in samples.unreadable[:SHOWN]]
        if len(samples.unreadable) > SHOWN:
            lines.append(f"… and {len(samples.unreadable) - SHOWN} more unreadable cells (--json lists all)")
        lines += [f"leak: {leak.target!r} can be read from {leak.column!r} alone ({leak.score:.1%}); training would "
                  f"need --ignore {leak.column}" for leak in self.leaks]
        return lines


def inspect_table(data: Data) -> Inspection:
    """Infer, measure, decode and look for leaks."""
    schema = measured(data.table, data.schema, np.arange(len(data)))
    samples = decoded(data.table, schema, workers=default_workers(), memory_bytes=default_memory())
    return Inspection(data, samples, find_leaks(data.table, data.schema))
