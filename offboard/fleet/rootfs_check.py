"""Would a unit with this root file system start? What can be told without starting it.

Permissions, that every module finds what it imports, that native code is for the machine; where
the machine is like ours, a start of the program itself; systemd's own opinion of the units.
"""

from __future__ import annotations

import ast
import os
import platform
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from offboard.fleet.modules import Target
from offboard.fleet.overlay import MANIFEST, Overlay, paths_in
from offboard.fleet.release_tree import CURRENT, ONBOARD
from offboard.fleet.unit_overlay import IDENTITY, PRIVATE, RELEASE_UNITS, SERVICES

ELF_MACHINES = {"aarch64": 183, "x86_64": 62}
"""``e_machine``. Source: ELF gABI, EM_AARCH64 and EM_X86_64."""
FROM_SYSTEM = frozenset({"tensorrt"})
"""What JetPack brings and nobody else can."""
_PROGRAM_S = 60


def problems(overlay: Overlay, rootfs: Path, target: Target) -> list[str]:
    """What is wrong with ``rootfs`` after ``overlay`` was applied; empty if nothing is."""
    library = (rootfs / CURRENT).resolve() / "lib"
    return [
        *permission_problems(overlay, rootfs),
        *interpreter_problems(rootfs, target),
        *import_problems(library),
        *machine_problems(library, target),
        *start_problems(rootfs, target),
        *unit_problems(rootfs),
    ]


def permission_problems(overlay: Overlay, rootfs: Path) -> Iterator[str]:
    """Files others may change, and secrets others may read."""
    for entry in overlay.entries:
        path = rootfs / entry.path
        found = stat.S_IMODE(path.lstat().st_mode)
        if entry.link is None and found != entry.mode:
            yield f"{entry.path} has mode {found:o}, not {entry.mode:o}"
    for folder in PRIVATE:
        if (found := stat.S_IMODE((rootfs / folder).stat().st_mode)) != 0o700:
            yield f"{folder} has mode {found:o}, so others may enter it"
    if f"{IDENTITY}/keys/robot.secret" not in paths_in((rootfs / MANIFEST).read_bytes()):
        yield "the manifest does not name the unit's secret key"


def interpreter_problems(rootfs: Path, target: Target) -> Iterator[str]:
    """The system has to bring the interpreter that the wheels are for."""
    if not (rootfs / "usr/bin/python3").exists():
        yield f"{rootfs} has no usr/bin/python3, which takes bad releases back; install python3"
    if not (rootfs / f"usr/bin/python{target.version}").exists():
        yield (
            f"{rootfs} has no usr/bin/python{target.version}, which {target.name} needs: wrong "
            "`system` in the fleet file, or python3 is not installed"
        )


def import_problems(library: Path) -> Iterator[str]:
    """Imports at the top of our modules that nothing provides."""
    provided = {path.name.split(".")[0] for path in library.iterdir()}
    known = provided | set(sys.stdlib_module_names) | FROM_SYSTEM
    for package in ONBOARD:
        for path in sorted((library / package).rglob("*.py")):
            missing = sorted(set(_imported(path)) - known)
            if missing:
                yield f"{path.relative_to(library)} imports {', '.join(missing)}: not there"


def machine_problems(library: Path, target: Target) -> Iterator[str]:
    """Native code for another machine."""
    for path in sorted(library.rglob("*.so*")):
        with path.open("rb") as file:
            head = file.read(20)
        machine = int.from_bytes(head[18:20], "little")
        if head[:4] == b"\x7fELF" and machine != ELF_MACHINES[target.machine]:
            yield f"{path.relative_to(library)} is not for {target.machine}"


def start_problems(rootfs: Path, target: Target) -> Iterator[str]:
    """``wombet-onboard --help`` inside, if this machine can run it."""
    mine = platform.machine() == target.machine and os.geteuid() == 0
    if mine and (rootfs / f"usr/bin/python{target.version}").exists():
        done = _run(["chroot", str(rootfs), f"/{CURRENT}/bin/wombet-onboard", "--help"])
        if done.returncode != 0:
            yield f"wombet-onboard does not start there: {_tail(done)}"


def unit_problems(rootfs: Path) -> Iterator[str]:
    """What ``systemd-analyze verify`` says of a root with systemd."""
    if not (rootfs / "usr/lib/systemd/system").is_dir():
        return
    if shutil.which("systemd-analyze") is None:
        yield "its units cannot be verified: systemd-analyze is missing here; apt install systemd"
    else:
        done = _run(["systemd-analyze", "verify", f"--root={rootfs}", *_units(rootfs)])
        if done.returncode != 0 or "wombet" in done.stderr:
            yield f"systemd-analyze verify: {_tail(done)}"


def _units(rootfs: Path) -> list[str]:
    """Those that could run; the judge is the program of a previous release, and there is none."""
    release = (rootfs / CURRENT).readlink().name
    units = [unit.replace("@.", f"@{release}.") for unit in (*SERVICES, *RELEASE_UNITS)]
    return [unit for unit in units if "judge" not in unit]


def _imported(path: Path) -> Iterator[str]:
    """Top-level names that a module imports whenever it is imported itself."""
    for node in ast.parse(path.read_bytes()).body:
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".")[0]


def _run(argv: list[str]) -> subprocess.CompletedProcess[str]:
    """Its end; one that takes too long has failed, as ``timeout`` of coreutils says it (124)."""
    try:
        return subprocess.run(argv, capture_output=True, text=True, timeout=_PROGRAM_S, check=False)
    except subprocess.TimeoutExpired:
        late = f"no end within {_PROGRAM_S} s; try again when this machine is less busy"
        return subprocess.CompletedProcess(argv, 124, "", late)


def _tail(done: subprocess.CompletedProcess[str]) -> str:
    return (done.stderr or done.stdout).strip()[-400:]
