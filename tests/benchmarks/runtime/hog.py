"""Takes as much of a processor or of the disk as it gets: ``python -m runtime.hog cpu|disk``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from onboard.realtime import end_with_parent

BLOCK_BYTES = 1 << 20
FILE_BLOCKS = 64


def burn() -> None:
    """Compute."""
    while True:
        pass


def churn(path: Path) -> None:
    """Write 64 MiB, force them to the disk, and again."""
    block = os.urandom(BLOCK_BYTES)
    with path.open("wb", buffering=0) as file:
        while True:
            file.seek(0)
            for _ in range(FILE_BLOCKS):
                file.write(block)
            os.fsync(file.fileno())


def main() -> None:
    """Until SIGTERM, or until the benchmark is gone."""
    kind, parent, *rest = sys.argv[1:]
    end_with_parent(int(parent))
    if kind == "cpu":
        burn()
    churn(Path(*rest))


if __name__ == "__main__":
    main()
