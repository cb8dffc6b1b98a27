"""What `inspect` looks for, one file a check; `CHECKS` is the list."""

from collections.abc import Callable

from sensorium.data.checks.balance import find_imbalance
from sensorium.data.checks.columns import find_column_faults
from sensorium.data.checks.conflicts import find_conflicts
from sensorium.data.checks.findings import Example, Finding, Place, ranked
from sensorium.data.checks.joined import Joined, Side, join
from sensorium.data.checks.missing import find_missing
from sensorium.data.checks.overlap import find_overlap
from sensorium.data.checks.repeats import find_repeats
from sensorium.data.checks.suspicious import find_suspicious

CHECKS: tuple[Callable[[Joined], list[Finding]], ...] = (
    find_overlap, find_conflicts, find_missing, find_repeats, find_suspicious, find_column_faults, find_imbalance)

__all__ = ["CHECKS", "Example", "Finding", "Joined", "Place", "Side", "join", "ranked"]
