"""An install that stands still at one of its steps, so that the power can be cut exactly there.

The unit's own installer runs, as root, on the unit; only who watches its steps is ours.
"""

from __future__ import annotations

import time
from enum import Enum, auto

from fleet.container import Container
from fleet.site import HEALTH_S, SETTLE_S

_MARK = "/run/step"
_DRIVER = """\
import pathlib, sys, time
sys.path.insert(0, "/opt/wombet/current/lib")
from functools import partial
from onboard.bundle_fetcher import DirectoryFetcher
from onboard.releases.depot import Depot
from onboard.releases.installer import Installer
from onboard.releases.pulse import pulse_at
from onboard.releases.services import Systemd
from onboard.releases.trial import Trial
from onboard.releases.unit_file import unit_name
from onboard.releases.unit_paths import UnitPaths
from onboard.update_client import UpdateClient
from onboard.version_floor import FLOOR_FILE
from onboard.wall_clock import wall_clock


def at(step):
    if step.name == "{step}":
        pathlib.Path("{mark}").write_text("AT_STEP")
        time.sleep(3600)


paths = UnitPaths(pathlib.Path("/"))
pulse, clock, services = partial(pulse_at, paths.socket), time.monotonic, Systemd()
trial = Trial(paths, services, pulse, clock, time.time, time.sleep, at)
installer = Installer(
    unit_name(paths.unit), paths, services, trial, pulse, clock, time.sleep, at
)
fetcher = DirectoryFetcher(pathlib.Path("{slice}"))
client = UpdateClient(paths.trust, paths.books / "tuf", fetcher, wall_clock("as-set"))
report = installer.install(Depot(client, fetcher.rest, paths.books / FLOOR_FILE), {health_s}, 60.0)
print(report.json())
pathlib.Path("{mark}").write_text("ENDED")
"""


class Stopped(Enum):
    """How far it came."""

    AT_STEP = auto()
    ENDED = auto()


def install_until(unit: Container, slice_: str, step: str) -> Stopped:
    """Let ``unit`` install what lies in ``slice_`` until ``step`` has happened.

    Raises:
        TimeoutError: it came neither there nor to an end.
    """
    driver = _DRIVER.format(step=step.upper(), mark=_MARK, slice=slice_, health_s=HEALTH_S)
    (unit.root / "root/driver.py").write_text(driver)
    unit.enter(f"rm -f {_MARK}; (setsid python3 -I /root/driver.py > /root/driver.txt 2>&1 &)")
    end_s = time.monotonic() + SETTLE_S
    while time.monotonic() < end_s:
        found = unit.enter(f"cat {_MARK}").stdout
        if found in Stopped.__members__:
            return Stopped[found]
        time.sleep(0.5)
    raise TimeoutError(f"no {step} within {SETTLE_S:g} s")
