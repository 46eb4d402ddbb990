"""The computers a unit may have, and what NVIDIA's flashing tool has to be told about each.

Source: README_initrd_flash.txt and the flash layouts of Jetson Linux R36 and R39; product ids in
recovery mode from the makers' getting-started guides. None of it was run on hardware by us.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ModuleName = Literal[
    "orin-nano-4gb",
    "orin-nano-8gb",
    "orin-nx-8gb",
    "orin-nx-16gb",
    "agx-orin-32gb",
    "agx-orin-64gb",
    "thor",
    "x86-64",
]
SystemName = Literal["jetpack6", "jetpack7", "debian12"]

KERNEL_FLASH = "tools/kernel_flash"
NVME_FIRST = ("ADDITIONAL_DTB_OVERLAY_OPT", "BootOrderNvme.dtbo")


@dataclass(frozen=True)
class Target:
    """What wheels have to fit: an interpreter on a machine, as in ``cp310-aarch64``."""

    python: str
    machine: Literal["aarch64", "x86_64"]

    @property
    def name(self) -> str:
        """Names the lock file in requirements/ and the folder of wheels."""
        return f"{self.python}-{self.machine}"

    @property
    def version(self) -> str:
        """``3.10`` for ``cp310``."""
        return f"{self.python[2]}.{self.python[3:]}"


@dataclass(frozen=True)
class Board:
    """How a Jetson is flashed: system and data on its NVMe drive, firmware in its own flash chip.

    Attributes:
        config: NVIDIA's name of the board configuration.
        layout: partition layout of the drive, of NVIDIA, with two root file systems.
        usb_product: product id (vendor 0955) that the module shows in recovery mode.
        firmware: layout of the flash chip, where it has to be named.
        boot: which storage the boot firmware is told to use: ``internal`` or ``external``.
        environment: what the tool reads beside ``ROOTFS_AB``.
        network: over which link the images travel, where it has to be chosen.
    """

    config: str
    layout: str
    usb_product: str
    boot: Literal["internal", "external"]
    firmware: str | None = None
    environment: tuple[tuple[str, str], ...] = ()
    network: str | None = "usb0"


@dataclass(frozen=True)
class Module:
    """A computer; without a board it cannot be flashed, only provisioned."""

    title: str
    systems: tuple[SystemName, ...]
    board: Board | None = None


TARGETS: dict[SystemName, Target] = {
    "jetpack6": Target("cp310", "aarch64"),
    "jetpack7": Target("cp312", "aarch64"),
    "debian12": Target("cp311", "x86_64"),
}
_ORIN_LAYOUT = f"{KERNEL_FLASH}/flash_l4t_t234_nvme_rootfs_ab.xml"
_THOR_LAYOUT = f"{KERNEL_FLASH}/flash_l4t_t264_nvme_rootfs_ab.xml"
_ORIN: tuple[SystemName, ...] = ("jetpack6", "jetpack7")


def _small(product: str) -> Board:
    """Orin Nano and NX: no storage of their own beside the flash chip."""
    return Board(
        config="jetson-orin-nano-devkit",
        layout=_ORIN_LAYOUT,
        usb_product=product,
        boot="internal",
        firmware="bootloader/generic/cfg/flash_t234_qspi.xml",
    )


def _agx(product: str) -> Board:
    """AGX Orin: its eMMC is left alone, the firmware prefers the drive."""
    return Board(
        config="jetson-agx-orin-devkit",
        layout=_ORIN_LAYOUT,
        usb_product=product,
        boot="external",
        environment=(NVME_FIRST,),
    )


MODULES: dict[ModuleName, Module] = {
    "orin-nano-4gb": Module("Jetson Orin Nano 4 GB", _ORIN, _small("7623")),
    "orin-nano-8gb": Module("Jetson Orin Nano 8 GB", _ORIN, _small("7523")),
    "orin-nx-8gb": Module("Jetson Orin NX 8 GB", _ORIN, _small("7423")),
    "orin-nx-16gb": Module("Jetson Orin NX 16 GB", _ORIN, _small("7323")),
    "agx-orin-32gb": Module("Jetson AGX Orin 32 GB", _ORIN, _agx("7223")),
    "agx-orin-64gb": Module("Jetson AGX Orin 64 GB", _ORIN, _agx("7023")),
    "thor": Module(
        "Jetson AGX Thor",
        ("jetpack7",),
        Board(
            config="jetson-agx-thor-devkit",
            layout=_THOR_LAYOUT,
            usb_product="7026",
            boot="external",
            environment=(NVME_FIRST,),
            network=None,
        ),
    ),
    "x86-64": Module("x86-64 computer", ("debian12",)),
}
