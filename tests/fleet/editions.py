"""Our wheel in several editions: good ones that differ, and some that are broken on purpose."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

_CRASH = """
raise SystemExit(70)
"""
_HANG = """

def _stuck(self, now_ns, kick=Notifier.kick, begun_ns=[]):
    import sys, time
    kick(self, now_ns)
    begun_ns.append(now_ns)
    if "control" in sys.argv and now_ns - begun_ns[0] > 2_000_000_000:
        time.sleep(3600)


Notifier.kick = _stuck
"""
_DEAF = """

def _deaf(self, packet, count, timeout_s, ask=Line.ask, begun_s=[]):
    begun_s.append(self._clock_s())
    if begun_s[-1] - begun_s[0] > 2.0:
        raise BusError("deaf on purpose")
    return ask(self, packet, count, timeout_s)


Line.ask = _deaf
"""
BROKEN = {
    "crashes": ("onboard/control_process.py", _CRASH),
    "hangs": ("onboard/notify.py", _HANG),
    "deaf": ("onboard/line.py", _DEAF),
}


def edition(wheel: tuple[str, bytes], name: str, place: Path) -> Path:
    """The wheel's edition ``name`` as a file below ``place``; a name not in BROKEN runs well."""
    changed, addition = BROKEN.get(name, ("onboard/__init__.py", ""))
    path = place / name / wheel[0]
    path.parent.mkdir(parents=True)
    with (
        zipfile.ZipFile(io.BytesIO(wheel[1])) as old,
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for info in old.infolist():
            data = old.read(info)
            new.writestr(info, data + addition.encode() if info.filename == changed else data)
        new.writestr(zipfile.ZipInfo("onboard/edition.txt"), f"{name}\n")
    return path
