"""Units that people write in place of ours, and what they are in ours."""

from __future__ import annotations

import math
from typing import NamedTuple


class Unit(NamedTuple):
    """``value`` of it is ``scale * value + offset`` of the unit our key ends in."""

    suffix: str
    name: str
    scale: float
    offset: float = 0.0

    def to_si(self, value: float) -> float:
        """A value of this unit in ours."""
        return self.scale * value + self.offset


OTHERS: dict[str, tuple[Unit, ...]] = {
    "_rad": (Unit("_deg", "degrees", math.pi / 180.0),),
    "_rad_s": (
        Unit("_rpm", "rev/min", math.pi / 30.0),
        Unit("_deg_s", "degrees/s", math.pi / 180.0),
    ),
    "_nm": (Unit("_mnm", "mNm", 1e-3), Unit("_kgcm", "kgf·cm", 0.0980665)),
    "_a": (Unit("_ma", "mA", 1e-3),),
    "_v": (Unit("_mv", "mV", 1e-3),),
    "_s": (Unit("_ms", "ms", 1e-3), Unit("_us", "µs", 1e-6)),
    "_c": (Unit("_k", "K", 1.0, -273.15),),
    "_hz": (Unit("_khz", "kHz", 1e3),),
    "_m": (Unit("_mm", "mm", 1e-3), Unit("_cm", "cm", 1e-2)),
    "_kg": (Unit("_g", "g", 1e-3),),
    **dict.fromkeys(("_nm_s", "_nm_a", "_nm_rad", "_nm_rad_s", "_1_s", "_gain_rad_s"), ()),
}
"""By the end of our key; the longest that fits is its unit."""


def ending(key: str) -> str:
    """The end of ``key`` that is its unit; empty if it has none."""
    return max((suffix for suffix in OTHERS if key.endswith(suffix)), key=len, default="")


def ours(key: str) -> list[tuple[str, Unit]]:
    """For a key with a unit of others: each of our keys it may mean, and that unit."""
    return [
        (key.removesuffix(unit.suffix) + suffix, unit)
        for suffix, units in OTHERS.items()
        for unit in units
        if key.endswith(unit.suffix)
    ]


def number(value: float) -> str:
    """As a robot file would write it: four digits, and always a float."""
    text = f"{value:.4g}"
    return text if any(mark in text for mark in ".en") else text + ".0"


def converted(key: str, value: object) -> list[tuple[Unit, float]]:
    """What ``value`` would be in the unit of ``key``, had it been meant in each unit of others."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return []
    return [(unit, unit.to_si(value)) for unit in OTHERS.get(ending(key), ())]
