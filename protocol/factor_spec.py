"""One factor of a reward that a robot file writes itself; see ``protocol/factors.py``."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from protocol.table import Fraction, Positive, Table


class Factor(Table, frozen=True):
    """How good one observed value is, in [``floor``, 1]: 1 at ``target``, ``floor`` far away.

    ``of`` is a term of the observation as ``wombet-sim check`` lists them, such as
    ``position:arm`` or ``cos:pendulum``; ``target``, ``width`` and ``ends_beyond`` are in its
    physical unit: rad, rad/s, or none. At a distance of ``width`` a ``ramp`` has reached the floor,
    and a ``bell`` is 37 % of the way above it. Farther than ``ends_beyond`` the episode ends.
    """

    of: Annotated[str, Meta(pattern=r"^[a-z]+:[a-z0-9_]+(:\d)?\Z")]
    target: float
    width: Positive
    shape: Literal["bell", "ramp"] = "bell"
    floor: Fraction = 0.0
    ends_beyond: Positive | UnsetType = UNSET
