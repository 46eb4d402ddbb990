"""What flashing a unit comes to, command by command. Pure: nothing is run or written here."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from offboard.fleet.fleet_file import Unit
from offboard.fleet.layout import DATA_LABEL
from offboard.fleet.modules import KERNEL_FLASH, Board
from protocol.errors import ConfigError

ROOTFS = "rootfs"
USER = "field"
ROOTFS_SIZE = "20GiB"
"""Of each of the two root file systems; NVIDIA reckons with a drive of 57 GiB at least."""
USER_IS_THERE = f"{ROOTFS}/etc/passwd has {USER} already"
_CREATE_USER = "tools/l4t_create_default_user.sh"
_FLASH = f"{KERNEL_FLASH}/l4t_initrd_flash.sh"
_DRIVE = "nvme0n1p1"


@dataclass(frozen=True)
class Command:
    """A program of NVIDIA's, to be run as root in ``Linux_for_Tegra``."""

    argv: tuple[str, ...]
    environment: tuple[tuple[str, str], ...] = ()

    def text(self) -> str:
        """As one would type it."""
        settings = [f"{key}={shlex.quote(value)}" for key, value in self.environment]
        return " ".join(["sudo", *settings, shlex.join(self.argv)])


@dataclass(frozen=True)
class FlashPlan:
    """How a unit is flashed.

    Attributes:
        source_layout: NVIDIA's partition layout.
        layout: ours, made of it; both relative to ``Linux_for_Tegra``.
        create_user: makes the login that NVIDIA's first boot would otherwise ask for.
        flash: writes firmware, both root file systems and the data partition.
        has_user: that login is there, from the unit before; NVIDIA's tool makes none twice, so
            only the host name is set.
    """

    unit: str
    serial: str
    title: str
    board: Board
    source_layout: str
    layout: str
    create_user: Command
    flash: Command
    has_user: bool = False


def make_plan(name: str, unit: Unit, accept_license: bool = False) -> FlashPlan:
    """The plan for one unit; ``accept_license`` spares NVIDIA's question about its terms.

    Module, carrier and revision are not named: the tool reads them from the module itself.

    Raises:
        ConfigError: its computer is no Jetson.
    """
    board = unit.computer.board
    if board is None:
        raise ConfigError(
            f"{name} has no Jetson but a {unit.computer.title}: install {unit.system} by its own "
            f"means, then make provision UNIT={name}"
        )
    layout = board.layout.replace("/flash_l4t_", "/wombet_")
    user = [f"./{_CREATE_USER}", "-u", USER, "-n", name]
    firmware = ["-p", f"-c {board.firmware}"] if board.firmware else []
    storage = ["--external-device", _DRIVE, "-c", layout, "-S", ROOTFS_SIZE, *firmware]
    link = ["--network", board.network] if board.network else []
    flash = [f"./{_FLASH}", *storage, "--showlogs", *link, board.config, board.boot]
    return FlashPlan(
        unit=name,
        serial=unit.serial,
        title=unit.computer.title,
        board=board,
        source_layout=board.layout,
        layout=layout,
        create_user=Command((*user, *(["--accept-license"] if accept_license else []))),
        flash=Command(tuple(flash), (("ROOTFS_AB", "1"), *board.environment)),
    )


def plan_text(plan: FlashPlan) -> str:
    """The plan for people to read: what would be done, in order, with the exact commands."""
    lines = [
        f"# {plan.unit}: {plan.title}, serial {plan.serial}",
        "# in Linux_for_Tegra, as root, after the overlay was applied to rootfs/:",
        f"# {plan.layout} is made of {plan.source_layout.rsplit('/', 1)[1]}:",
        f"#   partition {DATA_LABEL} is added, last on the drive, and grows to its end",
        _user_text(plan),
        f"# with one device in recovery mode, USB 0955:{plan.board.usb_product}, "
        f"and CONFIRM={plan.serial}:",
        plan.flash.text(),
    ]
    return "\n".join(lines) + "\n"


def unfitted_text(plan: FlashPlan) -> str:
    """The plan where NVIDIA's package is not known, and with it whether the user is there."""
    return f"{plan_text(plan)}# if {USER_IS_THERE}, {_CREATE_USER} is left out\n"


def _user_text(plan: FlashPlan) -> str:
    if not plan.has_user:
        return plan.create_user.text()
    return f"# {USER_IS_THERE}, with its password; {ROOTFS}/etc/hostname becomes {plan.unit}"
