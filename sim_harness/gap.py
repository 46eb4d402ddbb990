"""A body as far from nominal as one likes: the gap sweep of the benchmark."""

from __future__ import annotations

import math

import msgspec

from protocol.errors import ConfigError
from protocol.plant_spec import Body

SMALLEST_SHARE = 0.05
"""Of nominal: no length, mass or voltage is extrapolated below it, let alone through zero."""


def stretched(nominal: Body, body: Body, gap: float) -> Body:
    """Every parameter moved from ``nominal`` through ``body``: ``(1 - gap) nominal + gap body``.

    ``gap`` 0 is exactly ``nominal`` and 1 exactly ``body``; beyond 1 the change goes on in the same
    direction. What would become unphysically small stays at :data:`SMALLEST_SHARE` of nominal (or
    at ``body``'s own value, if that is smaller). A delay is rounded to whole milliseconds.

    Raises:
        ConfigError: ``gap`` is negative or not finite, or so large that no plant can be built.
    """
    if not (math.isfinite(gap) and gap >= 0.0):
        raise ConfigError(f"gap is {gap}; it must be a finite number of at least 0")
    moved = {
        name: _moved(getattr(nominal, name), getattr(body, name), gap)
        for name in Body.__struct_fields__
    }
    try:
        return msgspec.convert(moved, Body)
    except msgspec.ValidationError as error:
        raise ConfigError(f"gap {gap:g} is too large for this body ({error})") from error


def _moved(nominal: float, body: float, gap: float) -> float:
    value = (1.0 - gap) * nominal + gap * body
    value = max(value, min(body, SMALLEST_SHARE * nominal))
    return round(value) if isinstance(nominal, int) else value
