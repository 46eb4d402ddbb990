"""What the exit status of ``wombet-onboard`` means: the one table, for shells, systemd and us."""

from __future__ import annotations

from enum import IntEnum

from protocol.errors import (
    BundleError,
    BusError,
    ConfigError,
    StoreError,
    WireError,
    WombetError,
)


class Exit(IntEnum):
    """How a command ended. A signal ends it with 128 + its number, as shells report it."""

    DONE = 0
    """It did what was asked."""
    NO = 1
    """The answer is no: the robot refused, a replay differs, a budget is exceeded."""
    CONFIG = 2
    """Wrong command line, robot file or recording: starting again would not help."""
    BUS = 3
    """The motor bus failed, or a motor did not confirm that its torque is off."""
    AWAY = 4
    """Control is not running or does not answer."""
    STORE = 5
    """Durable storage failed."""
    BUNDLE = 6
    """A policy bundle was refused."""
    HUNG = 7
    """The control loop hung: torque was cut and the emergency stop is latched."""
    DEFECT = 70
    """An error nobody expected; the traceback tells. Source: EX_SOFTWARE of sysexits.h."""


_FAMILIES: dict[type[WombetError], Exit] = {
    ConfigError: Exit.CONFIG,
    BusError: Exit.BUS,
    WireError: Exit.AWAY,
    StoreError: Exit.STORE,
    BundleError: Exit.BUNDLE,
}


def exit_for(error: WombetError) -> Exit:
    """The status with which ``error`` ends a command."""
    families = (status for family, status in _FAMILIES.items() if isinstance(error, family))
    return next(families, Exit.DEFECT)
