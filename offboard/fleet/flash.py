"""Flashing a unit: overlay onto NVIDIA's root file system, then NVIDIA's own tool, if all agree.

Nothing is written to a robot unless its serial number was confirmed and exactly one device, of the
right kind, is in recovery mode. Whatever ends this earlier says "not flashed" and what to do.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from offboard.durable_file import write_durably
from offboard.fleet.layout import with_data_partition
from offboard.fleet.modules import Target
from offboard.fleet.overlay import Overlay
from offboard.fleet.plan import ROOTFS, Command, FlashPlan
from offboard.fleet.recovery import USB_DEVICES, recovery_devices, the_device
from offboard.fleet.rootfs import Own, apply_overlay, make_users, own_by_root
from offboard.fleet.rootfs_check import problems
from protocol.errors import ConfigError

Say = Callable[[str], None]


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
        StoreError: it cannot be written.
    """
    if bsp is None or not (bsp / plan.source_layout).is_file():
        raise ConfigError(
            f"not flashed: {bsp or 'BSP='} holds no {plan.source_layout}; set BSP= to the "
            "Linux_for_Tegra of the Jetson Linux release that the unit shall run"
        )
    layout = bsp / plan.source_layout
    data = with_data_partition(layout.read_text(encoding="utf-8"), str(layout))
    write_durably(bsp / plan.layout, data.encode())
    try:
        apply(overlay, bsp / ROOTFS, target)
    except ConfigError as error:
        raise ConfigError(f"not flashed: {error}") from error
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
    if confirm != plan.serial:
        raise ConfigError(
            f"not flashed: everything on {plan.unit} would be erased. Compare the serial number "
            f"on its module with the fleet file, then set CONFIRM={plan.serial}"
        )
    try:
        device = the_device(plan.board.usb_product, recovery_devices(usb))
    except ConfigError as error:
        raise ConfigError(f"not flashed: {error}") from error
    _run(plan.create_user, bsp, "not flashed")
    say(f"flashing {plan.unit} at USB port {device.port}; do not unplug it")
    _run(plan.flash, bsp, f"{plan.unit} was NOT flashed completely; put it in recovery mode again")
    say(f"{plan.unit} is flashed; unplug the USB cable and power it on")


def _run(command: Command, bsp: Path, otherwise: str) -> None:
    say = f"{otherwise}: {command.argv[0]}"
    environment = {**os.environ, **dict(command.environment)}
    try:
        done = subprocess.run(command.argv, cwd=bsp, env=environment, check=False)
    except OSError as error:
        raise ConfigError(f"{say} cannot be run in {bsp} ({error.strerror})") from error
    if done.returncode != 0:
        raise ConfigError(f"{say} ended with {done.returncode}; its output is above")
