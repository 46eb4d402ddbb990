"""One thing that is wrong with a robot's files."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

Key = tuple[str | int, ...]
"""The way to a value in a TOML document: names of tables and keys, places in lists."""


class Fault(NamedTuple):
    """What is wrong at ``key``, and what to do about it; no ``hint`` if we do not know."""

    key: Key
    text: str
    hint: str = ""


class Finding(NamedTuple):
    """A fault where an editor finds it: ``line`` counts from 1."""

    file: Path
    line: int
    text: str
    hint: str = ""

    def __str__(self) -> str:
        """``FILE:LINE: what is wrong``, and the hint in a line of its own."""
        return f"{self.file}:{self.line}: {self.text}" + (f"\n    {self.hint}" if self.hint else "")


def dotted(key: Key) -> str:
    """``("joints", 0, "id")`` as ``joints[0].id``."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in key).lstrip(".")
