"""What a dying disk does to a file: bits flip, ends are missing."""

from __future__ import annotations

import os
import random
from pathlib import Path


def flip_bit(path: Path, at: int, bit: int = 0) -> None:
    """One bit of the byte at offset ``at``."""
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1 << bit]))


def flip_any_bit(path: Path, chance: random.Random) -> bool:
    """One bit anywhere; False if there is none."""
    if not path.exists() or path.stat().st_size == 0:
        return False
    flip_bit(path, chance.randrange(path.stat().st_size), chance.randrange(8))
    return True


def cut_anywhere(path: Path, chance: random.Random) -> bool:
    """The file ends early; False if there is nothing to cut."""
    if not path.exists() or path.stat().st_size == 0:
        return False
    os.truncate(path, chance.randrange(path.stat().st_size))
    return True
