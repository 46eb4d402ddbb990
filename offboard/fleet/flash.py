"""Flashing a unit: overlay onto NVIDIA's root file system, then NVIDIA's own tool, if all agree.

Nothing is written to a robot unless its serial number was confirmed and exactly one device, of the
right kind, is in recovery mode. Whatever ends this earlier says "not flashed" and what to do.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from offboard.durable_file import write_durably
from offboard.fleet.layout import with_data_partition
from offboard.fleet.modules import Target
from offboard.fleet.overlay import Overlay
from offboard.fleet.plan import ROOTFS, USER, Command, FlashPlan
from offboard.fleet.recovery import USB_DEVICES, recovery_devices, the_device
from offboard.fleet.rootfs import (
    Own,
    apply_overlay,
    has_user,
    make_users,
    own_by_root,
    set_hostname,
)
from offboard.fleet.rootfs_check import problems
from protocol.errors import ConfigError, StoreError, WombetError

Say = Callable[[str], None]
NOT_FLASHED = "not flashed"


@contextmanager
def saying(otherwise: str) -> Iterator[None]:
    """What fails within is told with ``otherwise`` before it.

    Raises:
        ConfigError: something failed; the text says what and, of missing rights, what to do.
    """
    try:
        yield
    except (WombetError, OSError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        denied = isinstance(cause, PermissionError)
        hint = "; this needs root, as NVIDIA's tools do: sudo -E make flash" if denied else ""
        raise ConfigError(f"{otherwise}: {error}{hint}") from error


def fitted(plan: FlashPlan, bsp: Path | None) -> FlashPlan:
    """``plan`` for this package: a user that its root file system has is not made again."""
    return replace(plan, has_user=bsp is not None and has_user(bsp / ROOTFS, USER))


def apply(overlay: Overlay, rootfs: Path, target: Target, own: Own = own_by_root) -> None:
    """Lay ``overlay`` over ``rootfs`` and check that a unit with it would start.

    Raises:
        ConfigError: it is no root file system, or would not start; the text says why.
        StoreError: it cannot be written.
    """
    apply_overlay(overlay, rootfs, own)
    make_users(rootfs)
    if found := problems(overlay, rootfs, target):
        raise ConfigError(f"{rootfs} would not start: " + "; ".join(found))


def prepare(plan: FlashPlan, overlay: Overlay, target: Target, bsp: Path | None) -> Path:
    """Make NVIDIA's board-support package ready for this unit; no device is needed.

    Args:
        plan: how it will be flashed.
        overlay: what the unit gets.
        target: its interpreter and machine.
        bsp: the folder ``Linux_for_Tegra``.

    Returns:
        ``bsp``.

    Raises:
        ConfigError: it is missing or incomplete, or a unit with its root would not start.
        StoreError: it cannot be read or written.
    """
    if bsp is None or not (bsp / plan.source_layout).is_file():
        raise ConfigError(
            f"{bsp or 'BSP='} holds no {plan.source_layout}; set BSP= to the "
            "Linux_for_Tegra of the Jetson Linux release that the unit shall run"
        )
    layout = bsp / plan.source_layout
    data = with_data_partition(_text(layout), str(layout))
    write_durably(bsp / plan.layout, data.encode())
    apply(overlay, bsp / ROOTFS, target)
    return bsp


def flash(plan: FlashPlan, bsp: Path, confirm: str, say: Say, usb: Path = USB_DEVICES) -> None:
    """Run NVIDIA's tools on the unit in recovery mode.

    Args:
        plan: what to run.
        bsp: the prepared ``Linux_for_Tegra``.
        confirm: the serial number on the module, typed by who stands before it.
        say: takes one line for the user.
        usb: where the kernel lists USB devices.

    Raises:
        ConfigError: it was not flashed, and why; or NVIDIA's tool failed while it was.
    """
    with saying(NOT_FLASHED):
        port = _agreed(plan, confirm, usb)
        if plan.has_user:
            set_hostname(bsp / ROOTFS, plan.unit)
        else:
            _run(plan.create_user, bsp)
    say(f"flashing {plan.unit} at USB port {port}; do not unplug it")
    with saying(f"{plan.unit} was NOT flashed completely; put it in recovery mode again"):
        _run(plan.flash, bsp)
    say(f"{plan.unit} is flashed; unplug the USB cable and power it on")


def _agreed(plan: FlashPlan, confirm: str, usb: Path) -> str:
    """The USB port of the one device that is meant. Raises ConfigError."""
    if confirm != plan.serial:
        raise ConfigError(
            f"everything on {plan.unit} would be erased. Compare the serial number "
            f"on its module with the fleet file, then set CONFIRM={plan.serial}"
        )
    return the_device(plan.board.usb_product, recovery_devices(usb)).port


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"{path} cannot be read: {error}") from error


def _run(command: Command, bsp: Path) -> None:
    program = command.argv[0]
    environment = {**os.environ, **dict(command.environment)}
    try:
        done = subprocess.run(command.argv, cwd=bsp, env=environment, check=False)
    except OSError as error:
        raise ConfigError(f"{program} cannot be run in {bsp} ({error.strerror})") from error
    if done.returncode != 0:
        raise ConfigError(f"{program} ended with {done.returncode}; its output is above")
