"""Fails where a package is installed that breaks others: on a CPU build of torch, transformers stops working."""

from __future__ import annotations

import sys
from importlib.util import find_spec

FORBIDDEN = ("torchvision", "timm", "open_clip", "torchaudio", "librosa")


def main() -> int:
    """The exit status: how many forbidden packages are there."""
    found = [name for name in FORBIDDEN if find_spec(name) is not None]
    for name in found:
        print(f"{name} must not be installed beside sensorium: see docs/architecture.md, Dependencies", file=sys.stderr)
    return len(found)


if __name__ == "__main__":
    sys.exit(main())
