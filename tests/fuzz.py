"""`make fuzz`: hostile files of every form through the decoders.

    python tests/fuzz.py [files of each form, 2000] [forms: png,mp4,…]
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from fuzzing import FORMS_OF_KINDS, HEADING, Findings, fuzzed
from seeds import seeds

from sensorium.data.decoding.workers import default_workers
from sensorium.data.kinds import KINDS


def main() -> int:
    """Print a table; 1 where a decoder crashed, failed or warned."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    chosen = sys.argv[2].split(",") if len(sys.argv) > 2 else [form for _, form in FORMS_OF_KINDS]
    print(HEADING, flush=True)
    every: list[Findings] = []
    started = time.monotonic()
    for name, form in FORMS_OF_KINDS:
        if form in chosen:
            kind = KINDS[name]().measure(seeds(name, form) if name != "text" else ["some words"])
            with tempfile.TemporaryDirectory() as folder:
                every.append(fuzzed(kind, form, count, Path(folder), workers=default_workers()))
            print(every[-1].line(), flush=True)
    print(f"{sum(found.count for found in every):,} files in {time.monotonic() - started:.0f} s")
    for found in every:
        print(f"\n{found.kind} {found.form}: slowest {found.slowest[1]}; most memory {found.largest[1]}")
        for reason, times in found.reasons.most_common(8):
            print(f"  {times:6} {reason}")
        for words, faults in (("FAILED", found.failures), ("WARNED", found.warned)):
            for fault in faults[:5]:
                print(f"  {words} {fault}")
    return int(any(found.failures or found.warned for found in every))


if __name__ == "__main__":
    sys.exit(main())
