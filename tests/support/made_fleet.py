"""Small stand-ins for what a fleet is made of: wheels, a root file system, NVIDIA's package."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import zipfile
from collections.abc import Mapping
from pathlib import Path

import onboard
from offboard.fleet.fleet_file import Fleet, parse_fleet
from offboard.fleet.modules import TARGETS, Target
from offboard.fleet.release_tree import Release, make_release
from offboard.fleet.rootfs_check import ELF_MACHINES
from offboard.fleet.unit_identity import UnitIdentity
from offboard.fleet.unit_overlay import BOOT_MODULES
from offboard.fleet.workshop import Workshop
from offboard.keys import init_server

FLEET_FILE = Path("hw_configs/fleet.toml")
ROBOT = FLEET_FILE.with_name("furuta.toml").read_text()
PACKAGE = Path(onboard.__file__).parent
UNITS = PACKAGE / "systemd"
SERIAL = "1424523000007"
HERE = TARGETS["debian12"]
MAIN = """\
import deep.thought

def main():
    print("usage: wombet-onboard", deep.thought.ANSWER)
"""
LAYOUT = """\
<?xml version="1.0"?>
<partition_layout version="01.00.0000">
    <device type="external" instance="0" sector_size="512" num_sectors="EXT_NUM_SECTORS" >
        <partition name="APP" id="1" type="data">
            <allocation_attribute> 0x8 </allocation_attribute>
        </partition>
        <partition name="APP_b" id="2" type="data">
            <allocation_attribute> 0x8 </allocation_attribute>
        </partition>
        <partition name="secondary_gpt" type="secondary_gpt">
            <size> 0xFFFFFFFFFFFFFFFF </size>
        </partition>
    </device>
</partition_layout>
"""
RECORDER = """\
#!/bin/sh
{{ echo "$0" "$@"; echo "ROOTFS_AB=$ROOTFS_AB"; pwd; }} >> {record}
exit ${{STUB_EXIT:-0}}
"""
USER_MAKER = """\
#!/bin/sh
# -u USER -n HOST, as NVIDIA's, which makes no user twice.
{{ echo "$0" "$@"; echo "ROOTFS_AB=$ROOTFS_AB"; pwd; }} >> {record}
[ "${{STUB_EXIT:-0}}" = 0 ] || exit "$STUB_EXIT"
if grep -q "^$2:" rootfs/etc/passwd; then echo "user $2 exists" >&2; exit 1; fi
echo "$2:x:1000:1000::/home/$2:/bin/bash" >> rootfs/etc/passwd
echo "$4" > rootfs/etc/hostname
printf '127.0.0.1 localhost\\n127.0.1.1 %s\\n' "$4" > rootfs/etc/hosts
"""


def fleet_text(**changes: str) -> str:
    """A fleet of one Jetson (``duck``) and one computer like this one (``bench``)."""
    duck = {
        "robot": "furuta.toml",
        "address": "root@10.0.0.17",
        "channel": "canary",
        "module": "orin-nano-8gb",
        "system": "jetpack6",
        "serial": SERIAL,
        "bus": "usb:FT5WJ8QX",
    }
    bench = {**duck, "address": "field@10.0.0.18", "module": "x86-64", "system": "debian12"}
    bench |= {"serial": "BENCH-1", "bus": "/dev/ttyS1", "channel": "stable"}
    tables = {"duck": duck | changes, "bench": bench}
    lines = ["schema = 1", 'server = "tcp://10.0.0.2:5571"', 'operators = ["ssh-ed25519 AAAA one"]']
    for name, table in tables.items():
        lines += [f"[units.{name}]", *(f'{key} = "{value}"' for key, value in table.items())]
        lines += ["calibration.arm.offset_rad = 0.013"] * (name == "duck")
    return "\n".join(lines) + "\n"


def made_fleet(**changes: str) -> Fleet:
    return parse_fleet(fleet_text(**changes), "fleet.toml")


def wheel(name: str, files: Mapping[str, bytes]) -> tuple[str, bytes]:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, data in files.items():
            archive.writestr(zipfile.ZipInfo(path), data)
    return name, buffer.getvalue()


def our_wheel(main: str = MAIN) -> tuple[str, bytes]:
    units = {f"onboard/systemd/{path.name}": path.read_bytes() for path in UNITS.iterdir()}
    boot = {path: (PACKAGE.parent / path).read_bytes() for path in BOOT_MODULES}
    files = {
        **boot,
        "onboard/main.py": main.encode(),
        "offboard/secret_sauce.py": b"",
        "wombet-0.1.0.dist-info/METADATA": b"Name: wombet\n",
        **units,
    }
    return wheel("wombet-0.1.0-py3-none-any.whl", files)


def dependency(machine: str = "x86_64") -> tuple[str, bytes]:
    elf = b"\x7fELF" + bytes(14) + ELF_MACHINES[machine].to_bytes(2, "little") + bytes(44)
    files = {
        "deep/__init__.py": b"",
        "deep/thought.py": b"ANSWER = 42\n",
        "deep/fast.so": elf,
        "deep-1.0.data/scripts/deep": b"#!python\n",
        "deep-1.0.data/purelib/deep/more.py": b"",
        "deep-1.0.dist-info/METADATA": b"Name: deep\n",
    }
    return wheel(f"deep-1.0-cp311-cp311-manylinux_2_28_{machine}.whl", files)


def made_release(target: Target = HERE, main: str = MAIN, robot: str = ROBOT) -> Release:
    robots = dict.fromkeys(("bench", "duck"), robot)
    return make_release([dependency(target.machine), our_wheel(main)], target, robots)


def made_identity() -> UnitIdentity:
    return UnitIdentity(b"p" * 40, b"s" * 40, b"S" * 40, b"{}")


def made_workshop(place: Path) -> Workshop:
    """A workshop with keys, where the wheels of both targets are at hand."""
    init_server(place / "keys")
    fleet = place / "fleet.toml"
    fleet.write_text(fleet_text())
    robot = FLEET_FILE.with_name("furuta.toml")
    fleet.with_name(robot.name).write_bytes(robot.read_bytes())
    for system in ("jetpack6", "debian12"):
        target = TARGETS[system]
        name, data = dependency(target.machine)
        folder = place / "out" / "wheels" / target.name
        folder.mkdir(parents=True)
        (folder / name).write_bytes(data)
        lock = place / "requirements" / f"robot-{target.name}.txt"
        lock.parent.mkdir(exist_ok=True)
        lock.write_text(f"deep==1.0 --hash=sha256:{hashlib.sha256(data).hexdigest()}\n")
    return Workshop(fleet, place / "keys", place / "out", place / "requirements", our_wheel)


def made_rootfs(place: Path, python: str = "3.11") -> Path:
    """A directory that looks like a root file system, with no program in it."""
    for folder in ("etc", "usr/bin", "var/lib", "run"):
        (place / folder).mkdir(parents=True)
    (place / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (place / "etc" / "group").write_text("root:x:0:\ndialout:x:20:\ninput:x:104:\n")
    (place / "usr" / "bin" / f"python{python}").touch()
    executable(place / "usr" / "bin" / "python3", "")
    return place


def made_bsp(place: Path, python: str = "3.10") -> Path:
    """NVIDIA's folder with programs that only write down how they were called, in ``record``."""
    (place / "tools/kernel_flash").mkdir(parents=True)
    tools = {"l4t_create_default_user.sh": USER_MAKER, "kernel_flash/l4t_initrd_flash.sh": RECORDER}
    for tool, text in tools.items():
        executable(place / "tools" / tool, text.format(record=place / "record"))
    (place / "tools/kernel_flash/flash_l4t_t234_nvme_rootfs_ab.xml").write_text(LAYOUT)
    made_rootfs(place / "rootfs", python)
    return place


def made_usb(place: Path, *devices: tuple[str, str]) -> Path:
    """``/sys/bus/usb/devices`` with these vendors and products."""
    place.mkdir()
    for number, (vendor, product) in enumerate(devices):
        folder = place / f"1-{number}"
        folder.mkdir()
        (folder / "idVendor").write_text(f"{vendor}\n")
        (folder / "idProduct").write_text(f"{product}\n")
    return place


def executable(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def not_owned(path: Path) -> None:
    """Leaves the owner as it is: tests need not be root."""
    assert os.path.lexists(path)
