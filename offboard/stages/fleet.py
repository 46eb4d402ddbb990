"""``wombet-offboard fleet``: units flashed, provisioned and deployed to from the fleet file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import tyro
from rich.console import Console

from offboard.fleet.flash import NOT_FLASHED, apply, fitted, flash, prepare, saying
from offboard.fleet.fleet_file import Fleet, Unit, load_fleet
from offboard.fleet.plan import make_plan, plan_text, unfitted_text
from offboard.fleet.provision import provision
from offboard.fleet.release_tree import release_of
from offboard.fleet.workshop import Workshop, fingerprint
from offboard.stages import deploy
from offboard.stages.deploy import FLEET_FILE, KEYS, OUT
from protocol.errors import ConfigError

_Unit = tyro.conf.Positional[str]
_console = Console(stderr=True)


def plan(unit: _Unit, fleet: Path = FLEET_FILE, robot: Path | None = None) -> None:
    """Print how UNIT would be flashed; write nothing.

    Args:
        unit: its name in the fleet file.
        fleet: the fleet file.
        robot: the robot file that the unit is thought to have, to be compared.
    """
    found = _unit(load_fleet(fleet), unit, robot)
    print(unfitted_text(make_plan(unit, found)), end="")


def flash_unit(
    unit: _Unit,
    fleet: Path = FLEET_FILE,
    robot: Path | None = None,
    keys: Path = KEYS,
    out: Path = OUT,
    bsp: Path | None = None,
    confirm: str = "",
    accept_license: bool = False,
) -> None:
    """Flash UNIT: plan, overlay, root file system, and with --confirm SERIAL the device itself.

    Args:
        unit: its name in the fleet file.
        fleet: the fleet file.
        robot: the robot file that the unit is thought to have, to be compared.
        keys: the server's keys; the unit is enrolled there if it is not yet.
        out: folder for wheels, identities and overlays.
        bsp: NVIDIA's Linux_for_Tegra, with its sample root file system unpacked and prepared.
        confirm: the serial number on the unit's module.
        accept_license: you have read and accept NVIDIA's terms, so that it does not ask.
    """
    with saying(NOT_FLASHED):
        workshop = Workshop(fleet, keys, out)
        found = _unit(workshop.fleet(), unit, robot)
        planned = fitted(make_plan(unit, found, accept_license), bsp)
        _say(plan_text(planned))
        overlay = workshop.overlay(unit, data_partition=True)
        path = workshop.overlay_path(unit)
        _say(f"{path}  sha256 {fingerprint(path)}")
        ready = prepare(planned, overlay, found.target, bsp)
    _say(f"{ready} is ready for {unit}")
    flash(planned, ready, confirm, _say)


def apply_unit(
    unit: _Unit,
    rootfs: Path,
    fleet: Path = FLEET_FILE,
    keys: Path = KEYS,
    out: Path = OUT,
) -> None:
    """Lay what UNIT gets over a root file system in a directory, and check that it would start.

    Args:
        unit: its name in the fleet file.
        rootfs: the directory, such as one made by debootstrap; it gets no data partition.
        fleet: the fleet file.
        keys: the server's keys; the unit is enrolled there if it is not yet.
        out: folder for wheels, identities and overlays.
    """
    workshop = Workshop(fleet, keys, out)
    target = workshop.fleet().unit(unit).target
    apply(workshop.overlay(unit, data_partition=False), rootfs, target)
    _say(f"{rootfs} is ready for {unit}")


def provision_unit(
    unit: _Unit,
    fleet: Path = FLEET_FILE,
    robot: Path | None = None,
    keys: Path = KEYS,
    out: Path = OUT,
) -> None:
    """Put the runtime on UNIT, a Jetson that runs already, over ssh, and start it.

    Args:
        unit: its name in the fleet file.
        fleet: the fleet file.
        robot: the robot file that the unit is thought to have, to be compared.
        keys: the server's keys; the unit is enrolled there if it is not yet.
        out: folder for wheels, identities and overlays.
    """
    workshop = Workshop(fleet, keys, out)
    found = _unit(workshop.fleet(), unit, robot)
    overlay = workshop.overlay(unit, data_partition=False)
    provision(unit, found, overlay)
    _say(f"{unit} is provisioned; wombet-onboard status on it tells the rest")
    places = deploy.FleetPlaces(fleet, keys, out)
    if warning := deploy.assignment_text(places, unit, release_of(overlay.entries)):
        _say(warning)


COMMANDS: dict[str, Callable[..., None]] = {
    "plan": plan,
    "flash": flash_unit,
    "apply": apply_unit,
    "provision": provision_unit,
    **deploy.COMMANDS,
}


def _unit(fleet: Fleet, name: str, robot: Path | None) -> Unit:
    """The unit, which has the robot file that was named, if one was. Raises ConfigError."""
    unit = fleet.unit(name)
    if robot is not None and robot.name != unit.robot:
        raise ConfigError(f"{name} has {unit.robot} in the fleet file, not {robot.name}")
    return unit


def _say(line: str) -> None:
    _console.print(line, highlight=False, soft_wrap=True, markup=False)
