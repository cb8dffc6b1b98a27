"""What an inspection says: one sentence a finding, with where, how many and what to do; the worst first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Severity = Literal["serious", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("serious", "warning", "note")
TOPICS = ("leakage", "conflict", "unreadable", "suspicious", "duplicates", "missing", "outliers", "spelling", "unseen",
          "ids", "balance", "labels", "rare", "constant")
NAMED_ROWS = 8


@dataclass(frozen=True, order=True)
class Place:
    """A row: of the inspected table (side 0) or the one it is held against (side 1); rows count from 0."""

    side: int
    row: int


@dataclass(frozen=True)
class Example:
    """Cells to be shown side by side.

    Args:
        caption: what they show.
        modality: what is shown of the rows; "" where the words say it all.
        places: the rows.
    """

    caption: str
    modality: str
    places: tuple[Place, ...]


@dataclass(frozen=True)
class Finding:
    """Something a person should know.

    Args:
        severity: serious (scores would be wrong), warning (look at it), note (worth knowing).
        topic: one of TOPICS.
        said: one sentence.
        advice: what to do about it.
        count: how many cells or rows it is about; the findings of one topic are ranked by it.
        places: the rows, all of them.
        examples: what a page shows.
    """

    severity: Severity
    topic: str
    said: str
    advice: str
    count: int
    places: tuple[Place, ...] = ()
    examples: tuple[Example, ...] = ()

    def where(self, names: Sequence[str], most: int = NAMED_ROWS) -> str:
        """The rows in words, counted from 1; "" where it is about no row."""
        if not self.places:
            return ""
        sides = sorted({place.side for place in self.places})
        said = []
        for side in sides:
            rows = sorted({place.row + 1 for place in self.places if place.side == side})
            more = f" and {len(rows) - most:,} more" if len(rows) > most else ""
            of = f" of {names[side]}" if len(names) > 1 else ""
            said.append(f"{'row' if len(rows) == 1 else 'rows'} {', '.join(map(str, rows[:most]))}{more}{of}")
        return "; ".join(said)

    def to_json(self) -> dict[str, Any]:
        """Plain values; rows count from 1."""
        return {"severity": self.severity, "topic": self.topic, "said": self.said, "advice": self.advice,
                "count": self.count, "rows": self._rows(0), "rows_of_the_other_table": self._rows(1)}

    def _rows(self, side: int) -> list[int]:
        return sorted({place.row + 1 for place in self.places if place.side == side})


def ranked(findings: Iterable[Finding]) -> list[Finding]:
    """The worst first; of one severity in the order of TOPICS; of one topic, the larger first."""
    return sorted(findings, key=lambda f: (SEVERITIES.index(f.severity), TOPICS.index(f.topic), -f.count))


def counted(number: int, one: str, many: str = "") -> str:
    """A number with its word: 1 row, 2 rows.

    Example:
        >>> counted(1, "row"), counted(2400, "row"), counted(2, "copy", "copies")
        ('1 row', '2,400 rows', '2 copies')
    """
    return f"{number:,} {one if number == 1 else many or one + 's'}"
