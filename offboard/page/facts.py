"""Small words of every view: a labelled fact, and numbers as people read them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum


class Level(str, Enum):
    """How much a fact deserves a look."""

    PLAIN = "plain"
    GOOD = "good"
    LOOK = "look"
    BAD = "bad"


@dataclass(frozen=True)
class Fact:
    """A labelled value; ``hint`` explains it to who does not know the code."""

    label: str
    value: str
    hint: str
    level: Level = Level.PLAIN


def ago(seconds: float) -> str:
    """How long ago, coarse enough not to flicker."""
    if seconds < 3.0:
        return "just now"
    for size_s, name in ((86_400.0, "day"), (3_600.0, "hour"), (60.0, "minute")):
        if seconds >= 2 * size_s:
            return f"{seconds / size_s:.0f} {name}s ago"
    return f"{seconds:.0f} seconds ago"


def whole(number: float) -> str:
    """12,345."""
    return f"{number:,.0f}"


def number(value: float | None, digits: int = 3) -> str:
    """A number with ``digits`` significant ones, a dash for none."""
    if value is None or not math.isfinite(value):
        return "–"
    return whole(value) if abs(value) >= 10 ** (digits - 1) else f"{value:.{digits}g}"


def percent(share: float | None) -> str:
    """38 %, a dash for none."""
    if share is None or not math.isfinite(share):
        return "–"
    return f"{100 * share:.0f} %" if share == 0 or share >= 0.1 else f"{100 * share:.2g} %"


def signed(value: float) -> str:
    """+12 or −3.4."""
    return ("+" if value >= 0 else "−") + number(abs(value))


def sentence(text: str) -> str:
    """With a capital letter and a full stop."""
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def count(number_of: int, one: str, many: str = "") -> str:
    """1 robot, 2 robots; ``many`` where an s does not do."""
    return f"{whole(number_of)} {one if number_of == 1 else many or one + 's'}"
