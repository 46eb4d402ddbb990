"""What a measurement was made on and of."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from runtime.percentiles import Json

ROOT = Path(__file__).parents[3]
LIBRARIES = ("numpy", "onnxruntime", "torch", "mujoco", "pyzmq")


def machine() -> Json:
    """Processor, kernel, Python and libraries; how busy it was just before."""
    return {
        "cpu": _processor(),
        "cores": os.cpu_count(),
        "kernel": f"{platform.release()} {platform.version()}",
        "python": platform.python_version(),
        "libraries": {name: _version(name) for name in LIBRARIES},
        "load_average": [*os.getloadavg()],
    }


def stolen_ms(cpu: int) -> float | None:
    """Time that a hypervisor has given to others while ``cpu`` had work; None if it is not told."""
    try:
        lines = Path("/proc/stat").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    fields = next((line.split() for line in lines if line.startswith(f"cpu{cpu} ")), [])
    return 1e3 * int(fields[8]) / os.sysconf("SC_CLK_TCK") if len(fields) > 8 else None


def commit() -> str:
    """The checkout's commit, with ``+`` if it has changes, or ``unknown``."""
    command = ["git", "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()


def _version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    """As Linux names it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
