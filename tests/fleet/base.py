"""The root file system that all units share, and whether units can run here at all."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from offboard.fleet.modules import TARGETS
from offboard.fleet.wheelhouse import complete, fetch_wheels, lock_path, read_lock

SUITE = "bookworm"
_PACKAGES = "systemd,systemd-sysv,dbus,openssh-server,python3,iproute2,udev,ca-certificates"
_PROGRAMS = {
    "systemd-nspawn": "apt install systemd-container",
    "debootstrap": "apt install debootstrap",
    "unshare": "apt install util-linux",
    "ip": "apt install iproute2",
    "ssh": "apt install openssh-client",
}
_ANY_MIRROR = "http://deb.debian.org/debian"


def missing() -> str:
    """Why units cannot run on this machine; empty if they can."""
    if os.uname().machine != "x86_64":
        return f"units are x86-64, this machine is {os.uname().machine}"
    if os.geteuid() != 0:
        return "not root: containers cannot be booted"
    for program, remedy in _PROGRAMS.items():
        if shutil.which(program) is None:
            return f"no {program}; {remedy}"
    argv = ["unshare", "--mount", "--net", "--pid", "--fork", "--propagation", "private", "true"]
    if subprocess.run(argv, capture_output=True, check=False).returncode != 0:
        return "this machine lets nobody make namespaces"
    return "" if "overlay" in Path("/proc/filesystems").read_text() else "no overlay file system"


def prepared_base(cache: Path) -> Path:
    """The base below ``cache``, made with debootstrap at the first time; and the units' wheels."""
    target = TARGETS["debian12"]
    lock, wheels = lock_path(Path("requirements"), target), cache / "wheels" / target.name
    if not complete(wheels, read_lock(lock)):
        fetch_wheels(lock, target, wheels)
    base, part = cache / "base", cache / "base.part"
    if not base.exists():
        shutil.rmtree(part, ignore_errors=True)
        cache.mkdir(parents=True, exist_ok=True)
        argv = ["debootstrap", "--variant=minbase", f"--include={_PACKAGES}", SUITE, str(part)]
        subprocess.run([*argv, _mirror()], check=True)
        part.rename(base)
    return base.resolve()


def _mirror() -> str:
    """Where this machine gets its own packages."""
    for path in sorted(Path("/etc/apt").glob("sources.list*/*")):
        if found := re.search(r"^URIs: *(\S+/debian/?)$", path.read_text(), re.MULTILINE):
            return found[1]
    return _ANY_MIRROR
