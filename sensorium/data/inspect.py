"""Inspect: what every column is, what is missing, broken, repeated, shared between splits, or labelled twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from sensorium.data.checks import CHECKS, Finding, Joined, Side, join, ranked
from sensorium.data.checks.balance import class_counts
from sensorium.data.checks.missing import missing_patterns, missing_things
from sensorium.data.decoding.workers import default_workers
from sensorium.data.kinds import TableKind
from sensorium.data.leak import Leak, find_leaks
from sensorium.data.read import Data, default_memory
from sensorium.data.samples import Samples, decoded, measured
from sensorium.data.table import Table

SHOWN = 20


@dataclass(frozen=True)
class Inspection:
    """What was found in a table.

    Args:
        data: the table.
        samples: decoded.
        leaks: columns that give a target away.
        joined: the table, and the one that it was held against, compared cell by cell.
        findings: the worst first.
    """

    data: Data
    samples: Samples
    leaks: list[Leak]
    joined: Joined
    findings: list[Finding]

    def to_json(self) -> dict[str, Any]:
        """Plain values, as `sensorium inspect --json` prints them."""
        samples = self.samples
        patterns = missing_patterns(missing_things(self.data.table, samples), len(samples))
        return {
            "rows": len(samples),
            "modalities": [{"name": m.name, "kind": m.kind.name, "columns": list(m.columns), "reason": m.reason,
                            "settings": m.kind.model_dump(mode="json", exclude={"columns", "kind"}),
                            "missing": int((~samples.presence[:, place]).sum()),
                            "blank": samples.cells[m.name].num_blank,
                            "missing_by_column": self.missing_by_column(m.name),
                            "different": len(samples.cells[m.name].arrays),
                            "unreadable": len(samples.cells[m.name].unreadable)}
                           for place, m in enumerate(samples.schema.modalities)],
            "targets": [{"name": t.name, "task": t.task, "classes": self.class_counts(t.name), "reason": t.reason,
                         "by_part": class_counts(self.joined, t) if t.task == "classify" else {},
                         "missing": int((~samples.labels[t.name].mask).sum())} for t in samples.schema.targets],
            "ignored": samples.schema.ignored,
            "group": samples.schema.group,
            "split": samples.schema.split,
            "parts": {name: int((self.joined.parts == part).sum())
                      for part, name in enumerate(self.joined.part_names)},
            "unreadable": [vars(cell) for cell in samples.unreadable],
            "missing_together": [{"missing": list(pattern.missing), "rows": pattern.rows,
                                  "expected": round(pattern.expected, 2)} for pattern in patterns],
            "leaks": [vars(leak) for leak in self.leaks],
            "notes": list(samples.notes),
            "duplicates": self.num_duplicates,
            "findings": [finding.to_json() for finding in self.findings],
        }

    @property
    def names(self) -> tuple[str, ...]:
        """The tables' names, as the findings call them."""
        return tuple(side.name for side in self.joined.sides)

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
        """What a person reads where there is no terminal: what is there, then the findings, the worst first."""
        return [*self.content_lines(), "", *self.finding_lines()]

    def content_lines(self) -> list[str]:
        """What every column is and how much of it is there."""
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
        return lines

    def finding_lines(self) -> list[str]:
        """A line a finding: how bad, about what, the sentence, where, what to do."""
        if not self.findings:
            return ["nothing to find fault with"]
        lines = []
        for finding in self.findings:
            where = finding.where(self.names)
            lines.append(f"{finding.severity}: {finding.topic}: {finding.said}{f' ({where})' if where else ''} "
                         f"→ {finding.advice}")
        return lines


def inspect_table(data: Data, against: Table | None = None) -> Inspection:
    """Infer, measure, decode and look for everything that `CHECKS` knows.

    Args:
        data: the table.
        against: another table, a test set perhaps, that should share nothing with it; read by the same schema.

    Example: inspect_table(sensorium.read("train.csv", targets="label"), read_table("test.csv")).findings
    """
    schema = measured(data.table, data.schema, np.arange(len(data)))
    tables = [data.table] if against is None else [data.table, against]
    sides = []
    left = default_memory()
    for table, name in zip(tables, _names(tables), strict=True):
        samples = decoded(table, schema, workers=default_workers(), memory_bytes=left)
        left -= min(left, sum(cells.arrays.num_bytes for cells in samples.cells.values()))
        sides.append(Side(name, table, samples))
    joined = join(sides)
    leaks = find_leaks(data.table, data.schema)
    findings = [*map(_leak_finding, leaks), *(finding for check in CHECKS for finding in check(joined))]
    return Inspection(data, sides[0].samples, leaks, joined, ranked(findings))


def _names(tables: Sequence[Table]) -> list[str]:
    """Short names of the tables that tell them apart."""
    short = [Path(table.source).name or table.source for table in tables]
    whole = short if len(set(short)) == len(short) else [table.source for table in tables]
    return whole if len(set(whole)) == len(whole) else [f"{name} ({place})" for place, name in enumerate(whole, 1)]


def _leak_finding(leak: Leak) -> Finding:
    return Finding("serious", "leakage", f"{leak.target!r} can be read from {leak.column!r} alone ({leak.score:.1%} on "
                   f"held-out rows).", f"Training would need --ignore {leak.column}, or --allow-leak if it will be "
                   f"known when predicting.", 0)
