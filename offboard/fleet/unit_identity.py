"""The identity of a unit on its way to the unit: enrolled once, then always the same."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from offboard.keys import enrol_robot, list_robots
from offboard.role_keys import read_key, read_secret
from protocol.errors import ConfigError


@dataclass(frozen=True)
class UnitIdentity:
    """What enrolment made: z85 keys and the root of trust."""

    public: bytes
    secret: bytes = field(repr=False)
    server: bytes
    root: bytes


def unit_identity(keys: Path, unit: str, place: Path) -> UnitIdentity:
    """The identity of ``unit`` in ``place``; it is enrolled now if there is none.

    Args:
        keys: the server's keys.
        unit: its name.
        place: folder of mode 0700 that keeps it, so that a unit can be flashed again.

    Raises:
        ConfigError: the server does not let that key in, or knows the unit by another one.
        StoreError: it cannot be written.
    """
    if not (place / "keys").exists():
        enrol_robot(keys, unit, place)
    identity = UnitIdentity(
        public=read_key(place / "keys" / "robot.public"),
        secret=read_secret(place / "keys" / "robot.secret"),
        server=read_key(place / "keys" / "server.public"),
        root=read_key(place / "tuf" / "root.json"),
    )
    good = {key.public for key in list_robots(keys) if key.robot == unit and key.active}
    if identity.public.decode() not in good:
        raise ConfigError(
            f"the server does not let the key of {unit} in {place} in any more: remove that "
            "folder to enrol the unit anew, then flash or provision it again"
        )
    return identity
