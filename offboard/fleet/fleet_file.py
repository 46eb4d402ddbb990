"""The fleet: which robots there are, where they are, what each is made of. One TOML file.

A unit's entry holds what is particular to it and nothing else; what its kind has in common is in
the robot file.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, field

from offboard.fleet.modules import MODULES, TARGETS, Module, ModuleName, SystemName, Target
from offboard.fleet.robot_file import calibrated
from offboard.key_table import ROBOT_NAME
from protocol.errors import ConfigError
from protocol.table import Name, Table

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PULLS = "pulls"
BUS_LINK = "/dev/wombet-bus"
_USB = "usb:"
_ADDRESS = r"^(pulls|([a-z_][a-z0-9_-]*@)?[A-Za-z0-9][A-Za-z0-9.:-]*)\Z"
_SERIAL = r"^[A-Za-z0-9][A-Za-z0-9._-]{2,63}\Z"
_BUS = r"^(usb:[A-Za-z0-9._-]{1,64}|/[A-Za-z0-9._/:-]{1,120})\Z"
_SERVER = r"^tcp://[A-Za-z0-9.-]+:[0-9]{1,5}\Z"
_PUBLIC_KEY = r"^(ssh-|ecdsa-|sk-)[a-z0-9@.-]+ [A-Za-z0-9+/=]+( [ -~]*)?\Z"


class Calibration(Table, frozen=True):
    """What was measured on one joint of one unit, in place of what the robot file says."""

    offset_rad: Annotated[float, Meta(ge=-1e3, le=1e3)]


class Unit(Table, frozen=True):
    """One robot.

    ``robot`` lies beside the fleet file. ``address`` is where ssh reaches it, or ``pulls`` for one
    that is mostly away and fetches releases itself. ``serial`` is printed on the module. ``bus`` is
    the motor bus: ``usb:`` with the adapter's serial number, or a device file.
    """

    robot: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]+\.toml\Z")]
    address: Annotated[str, Meta(pattern=_ADDRESS)]
    channel: Literal["canary", "stable"]
    module: ModuleName
    system: SystemName
    serial: Annotated[str, Meta(pattern=_SERIAL)]
    bus: Annotated[str, Meta(pattern=_BUS)]
    calibration: dict[Name, Calibration] = field(default_factory=dict)

    @property
    def pulls(self) -> bool:
        """Nobody can reach it; it comes by itself."""
        return self.address == PULLS

    @property
    def computer(self) -> Module:
        """What runs it."""
        return MODULES[self.module]

    @property
    def target(self) -> Target:
        """What its wheels have to fit."""
        return TARGETS[self.system]

    @property
    def bus_serial(self) -> str | None:
        """Serial number of its USB adapter, if the motor bus is behind one."""
        return self.bus.removeprefix(_USB) if self.bus.startswith(_USB) else None

    @property
    def port(self) -> str:
        """The device file that control opens."""
        return BUS_LINK if self.bus_serial else self.bus

    @property
    def offsets_rad(self) -> dict[str, float]:
        """Calibrated zeros by joint."""
        return {joint: found.offset_rad for joint, found in self.calibration.items()}


class Fleet(Table, frozen=True):
    """All units, the server they speak to, and the ssh keys of those who may log in."""

    schema: Literal[1]
    server: Annotated[str, Meta(pattern=_SERVER)]
    units: dict[Annotated[str, Meta(pattern=ROBOT_NAME)], Unit]
    operators: list[Annotated[str, Meta(pattern=_PUBLIC_KEY)]] = field(default_factory=list)

    def unit(self, name: str) -> Unit:
        """The unit called ``name``. Raises ConfigError naming those that exist."""
        if name not in self.units:
            raise ConfigError(f"the fleet has no unit {name!r}; units are {sorted(self.units)}")
        return self.units[name]

    def channel(self, channel: str) -> dict[str, Unit]:
        """Units of a channel, by name."""
        return {name: unit for name, unit in self.units.items() if unit.channel == channel}


def parse_fleet(text: str, origin: str) -> Fleet:
    """Decode and check a fleet file; robot files are not looked at.

    Raises:
        ConfigError: naming the file, the key and what is wrong with it.
    """
    try:
        fleet = msgspec.convert(tomllib.loads(text), Fleet)
    except (msgspec.ValidationError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{origin}: {error}") from error
    if found := _problems(fleet):
        raise ConfigError(f"{origin}: " + "; ".join(found))
    return fleet


def load_fleet(path: Path) -> Fleet:
    """Read and check a fleet file and, with each unit's calibration, the robot files it names.

    Raises:
        ConfigError: as :func:`parse_fleet`, or a robot file is wrong.
    """
    fleet = parse_fleet(_read(path), str(path))
    for name in fleet.units:
        unit_robot_file(path, fleet, name)
    return fleet


def unit_robot_file(path: Path, fleet: Fleet, name: str) -> str:
    """The robot file that unit ``name`` of the fleet file at ``path`` gets.

    Raises:
        ConfigError: there is no such unit, or the file is wrong, or does not fit its calibration.
    """
    unit = fleet.unit(name)
    robot = path.parent / unit.robot
    return calibrated(_read(robot), unit.offsets_rad, f"{robot} for {name}")


def _problems(fleet: Fleet) -> list[str]:
    """What the types cannot say."""
    found = [
        f"units.{name}: {unit.module} does not run {unit.system}; "
        f"it runs {', '.join(unit.computer.systems)}"
        for name, unit in fleet.units.items()
        if unit.system not in unit.computer.systems
    ]
    for what in ("serial", "address"):
        counts = Counter(getattr(unit, what) for unit in fleet.units.values())
        found += [
            f"{what} {value} belongs to more than one unit"
            for value, count in counts.items()
            if count > 1 and value != PULLS
        ]
    port = int(re.sub(r".*:", "", fleet.server))
    if not 0 < port < 65536:
        found.append(f"server: there is no port {port}")
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
