"""Control's status, as far as it says something about the release."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from onboard.control_api import Status
from onboard.control_socket import ControlClient
from onboard.releases.evidence import Pulse
from protocol.errors import WireError
from protocol.modes import Mode

UNPOWERED = frozenset({Mode.IDLE.name, Mode.FAULT.name, Mode.ESTOP.name})
"""Modes without torque. HOLD is none: its motors are powered."""
_UNSURE = UNPOWERED | {Mode.BOOT.name, Mode.SELFTEST.name}
_ANSWER_S = 2.0


def pulse_at(socket: Path) -> Pulse | None:
    """Ask control at ``socket``; None if it does not answer, or not in a way we understand."""
    try:
        with closing(ControlClient(socket, _ANSWER_S)) as client:
            return pulse_of(client.status())
    except WireError:
        return None


def pulse_of(status: Status) -> Pulse:
    """The same from a status."""
    tested = any(
        (change.old, change.new) == (Mode.SELFTEST.name, Mode.IDLE.name)
        for change in status.changes
    )
    return Pulse(
        mode=status.mode,
        reason=status.reason,
        ticks=status.ticks,
        at_ns=status.at_ns,
        control_hz=status.control_hz,
        passed=tested or status.mode not in _UNSURE - {Mode.IDLE.name},
    )
