"""Everything that one unit gets: runtime, units, rules, limits, robot file, identity.

The same fleet file, identity and wheels give the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources

import msgspec

from offboard.fleet.fleet_file import BUS_LINK, Unit
from offboard.fleet.overlay import SECRET_MODE, Entry, Folder, Overlay
from offboard.fleet.release_tree import CURRENT, PLACE, Release, robot_path
from offboard.fleet.unit_identity import UnitIdentity
from protocol.robot_spec import parse_robot_spec

SERVICES = ("wombet-control.service", "wombet-agent.service")
RELEASE_UNITS = (
    "wombet-release-boot.service",
    "wombet-release-rollback.service",
    "wombet-release-judge.service",
    "wombet-release-install.path",
    "wombet-release-install.service",
    "wombet-bus-check@.service",
)
"""What takes releases, and takes them back."""
_PLACED = (*SERVICES, "wombet-release-judge.service", "wombet-release-install.service")
"""On which core they run depends on control's."""
_STARTED = (*SERVICES, "wombet-release-boot.service", "wombet-release-install.path")
BOOT = f"{PLACE}/boot"
"""Outside of every release: what runs when none can be relied on."""
BOOT_MODULES = (
    "onboard/__init__.py",
    "onboard/durable.py",
    "onboard/releases/__init__.py",
    "onboard/releases/course.py",
    "onboard/releases/guardian.py",
    "onboard/releases/journal.py",
    "onboard/releases/links.py",
    "onboard/releases/unit_paths.py",
    "protocol/__init__.py",
    "protocol/errors.py",
)
GOLDEN = f"{PLACE}/golden"
IDENTITY = "etc/wombet/identity"
PRIVATE = (IDENTITY, f"{IDENTITY}/keys", f"{IDENTITY}/tuf")
"""Directories that only root enters."""
_SYSTEM = "etc/systemd/system"
_ANY_MODE = 0o777
_BUS_RULE = """\
# The motor bus of this unit; it is not asked whether it is a modem.
SUBSYSTEM=="tty", ENV{{ID_BUS}}=="usb", ENV{{ID_SERIAL_SHORT}}=="{serial}", \\
  SYMLINK+="{link}", ENV{{ID_MM_DEVICE_IGNORE}}="1"
"""


def make_overlay(
    name: str,
    unit: Unit,
    server: str,
    operators: list[str],
    identity: UnitIdentity,
    release: Release,
    data_partition: bool,
) -> Overlay:
    """The overlay of one unit.

    Args:
        name: the unit's.
        unit: its entry in the fleet file.
        server: where the training server listens.
        operators: ssh public keys of those who may log in as root.
        identity: its own.
        release: the runtime it starts with, its robot file in it.
        data_partition: its drive has a partition for its data, as one has that was flashed.

    Raises:
        ConfigError: the release lacks the unit's robot file, or it is wrong, or systemd units.
    """
    robot_file = release.file(robot_path(name)).decode()
    entries = [
        *release.installed(),
        *_boot(release),
        *_configuration(name, unit, server),
        *_identity(identity),
        *_services(release, parse_robot_spec(robot_file, unit.robot).timing.cpu),
        *_machine(unit),
        *(_data_partition() if data_partition else ()),
        *(_operators(operators) if operators else ()),
    ]
    return Overlay(entries, [Folder(path, 0o700) for path in PRIVATE])


def system_file(name: str) -> bytes:
    """A file of ours that every unit gets as it is."""
    return resources.files("offboard.fleet").joinpath("system_files", name).read_bytes()


def _configuration(name: str, unit: Unit, server: str) -> Iterator[Entry]:
    """What it is; its robot file is that of the release in force, whichever that is."""
    about = {"unit": name, "channel": unit.channel, "serial": unit.serial}
    environment = f"WOMBET_UNIT={name}\nWOMBET_PORT={unit.port}\nWOMBET_SERVER={server}\n"
    robot = f"../../{CURRENT}/{robot_path(name)}"
    yield Entry("etc/wombet/robot.toml", mode=_ANY_MODE, link=robot)
    yield Entry("etc/wombet/robot.env", environment.encode())
    yield Entry("etc/wombet/unit.json", msgspec.json.encode(about) + b"\n")


def _identity(identity: UnitIdentity) -> Iterator[Entry]:
    yield Entry(f"{IDENTITY}/keys/robot.public", identity.public)
    yield Entry(f"{IDENTITY}/keys/robot.secret", identity.secret, SECRET_MODE)
    yield Entry(f"{IDENTITY}/keys/server.public", identity.server)
    yield Entry(f"{IDENTITY}/tuf/root.json", identity.root)


def _boot(release: Release) -> Iterator[Entry]:
    """The guardian of releases, and the release it falls back to in the end."""
    yield Entry(GOLDEN, mode=_ANY_MODE, link=f"releases/{release.id}")
    yield Entry(f"{BOOT}/__main__.py", system_file("boot_main.py"))
    for module in BOOT_MODULES:
        yield Entry(f"{BOOT}/{module}", release.file(f"lib/{module}"))


def _services(release: Release, cpu: int) -> Iterator[Entry]:
    """The runtime's own units, started at boot, on the cores that the robot file says."""
    for unit in (*SERVICES, *RELEASE_UNITS):
        yield Entry(f"{_SYSTEM}/{unit}", release.file(f"lib/onboard/systemd/{unit}"))
    for unit in _STARTED:
        yield _wanted_by("multi-user.target", unit)
    if cpu != 0:
        for service, cores in zip(_PLACED, (f"{cpu} 0", "0", "0", "0"), strict=True):
            text = f"# timing.cpu of the robot file is {cpu}.\n[Service]\nCPUAffinity=\n"
            yield Entry(
                f"{_SYSTEM}/{service}.d/cores.conf", f"{text}CPUAffinity={cores}\n".encode()
            )


def _machine(unit: Unit) -> Iterator[Entry]:
    """Users, limits, devices."""
    rules = system_file("70-wombet.rules")
    if unit.bus_serial:
        rules += _BUS_RULE.format(
            serial=unit.bus_serial, link=BUS_LINK.removeprefix("/dev/")
        ).encode()
    yield Entry("etc/udev/rules.d/70-wombet.rules", rules)
    yield Entry("etc/security/limits.d/60-wombet.conf", system_file("limits.conf"))
    yield Entry("etc/sysusers.d/wombet.conf", system_file("sysusers.conf"))
    yield Entry("etc/tmpfiles.d/wombet.conf", system_file("tmpfiles.conf"))
    if unit.bus.startswith("/dev/ttyTHS"):  # NVIDIA's console would speak on the motor bus
        yield Entry(f"{_SYSTEM}/nvgetty.service", mode=_ANY_MODE, link="/dev/null")


def _data_partition() -> Iterator[Entry]:
    for name in ("var-lib-wombet.mount", "wombet-data.service"):
        yield Entry(f"{_SYSTEM}/{name}", system_file(name))
    yield _wanted_by("local-fs.target", "var-lib-wombet.mount")


def _operators(keys: list[str]) -> Iterator[Entry]:
    yield Entry("etc/wombet/operators", "".join(f"{key}\n" for key in keys).encode())
    yield Entry("etc/ssh/sshd_config.d/60-wombet.conf", system_file("sshd.conf"))


def _wanted_by(target: str, unit: str) -> Entry:
    return Entry(f"{_SYSTEM}/{target}.wants/{unit}", mode=_ANY_MODE, link=f"../{unit}")
