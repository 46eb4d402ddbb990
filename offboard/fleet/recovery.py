"""Jetsons in recovery mode, as the kernel lists them under ``/sys/bus/usb/devices``."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from offboard.fleet.modules import MODULES
from protocol.errors import ConfigError

USB_DEVICES = Path("/sys/bus/usb/devices")
_NVIDIA = "0955"


class RecoveryDevice(NamedTuple):
    """One of them: where it is plugged in and which module it says it is."""

    port: str
    product: str


def recovery_devices(devices: Path = USB_DEVICES) -> list[RecoveryDevice]:
    """Every device on this machine that is a known module in recovery mode, by USB port."""
    known = {module.board.usb_product for module in MODULES.values() if module.board}
    found = [
        RecoveryDevice(path.parent.name, _read(path.with_name("idProduct")))
        for path in sorted(devices.glob("*/idVendor"))
        if _read(path) == _NVIDIA
    ]
    return [device for device in found if device.product in known]


def the_device(product: str, found: list[RecoveryDevice]) -> RecoveryDevice:
    """The only device in recovery mode, which has to be the module that is meant.

    Raises:
        ConfigError: there is none, another or more than one; the text says what to do.
    """
    if not found:
        raise ConfigError(
            "no Jetson in recovery mode is connected: hold its recovery button (or bridge FC REC "
            "and GND) while it powers on, and connect its USB recovery port to this machine"
        )
    if len(found) > 1:
        ports = ", ".join(device.port for device in found)
        raise ConfigError(f"{len(found)} Jetsons in recovery mode ({ports}): leave only one")
    if found[0].product != product:
        raise ConfigError(
            f"the Jetson at USB port {found[0].port} is 0955:{found[0].product}, not the "
            f"0955:{product} that the fleet file says: wrong robot, or a wrong `module`"
        )
    return found[0]


def _read(path: Path) -> str:
    """An attribute of a device; empty for one that was just unplugged."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""
