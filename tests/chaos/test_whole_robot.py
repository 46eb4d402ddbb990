"""A whole robot and a server that goes away: what moves keeps moving, what was recorded arrives.

Everything is real but the machine: plant on a pty, ``wombet-onboard run`` with both processes, an
ingest on loopback with keys. The thirty seconds without a server are real seconds.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from made_bundle import make_bundle
from made_server import Site, until

from offboard.keys import enrol_robot, load_server_keys
from offboard.publish import open_repository
from onboard.control_api import SOCKET_FILE, Start, Status, Stop
from onboard.control_socket import ControlClient
from protocol import dynamixel as dxl
from protocol import xl330
from protocol.errors import WireError
from protocol.modes import MOVING, Mode

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
ROBOT = Path(__file__).parents[2] / "hw_configs" / "furuta.toml"
AWAY_S = 30.0
WATCHDOG_S = 0.04
MOVING_NAMES = {mode.name for mode in MOVING}


class Unit:
    """A plant and a supervised robot, told where its server will be."""

    def __init__(self, folder: Path, endpoint: str) -> None:
        self.tty, self.state, self.runtime = folder / "tty", folder / "robot", folder / "run"
        self.client = ControlClient(self.runtime / SOCKET_FILE)
        self._log = (folder / "unit.log").open("wb")
        self.plant = self._spawn("sim_harness.main", "plant", "--link", self.tty)
        until(self.tty.exists)
        self.robot = self._spawn(
            *("onboard.main", "run", "--port", self.tty, "--server", endpoint),
            *("--state", self.state, "--runtime", self.runtime, "--clock", "as-set"),
        )

    def _spawn(self, module: str, *arguments: object) -> subprocess.Popen[bytes]:
        argv = [sys.executable, "-m", module, *map(str, arguments), "--robot", str(ROBOT)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(argv, env=environment, stderr=self._log)

    def status(self) -> Status | None:
        with suppress(WireError):
            return self.client.status()
        return None

    def reaches(self, condition: Callable[[Status], bool], within_s: float = 40.0) -> None:
        until(lambda: (status := self.status()) is not None and condition(status), within_s)

    def at_rest(self) -> Status:
        """Its status in IDLE, two ticks after it said so: the last row is written by then."""
        self.reaches(lambda status: status.mode == Mode.IDLE.name)
        then = self.status()
        assert then is not None
        self.reaches(lambda status: status.ticks > then.ticks + 1)
        status = self.status()
        assert status is not None
        return status

    def child(self, name: str) -> int:
        """Process id of the supervised ``control`` or ``agent``."""
        listed = subprocess.run(
            ["pgrep", "-P", str(self.robot.pid), "-f", f"onboard.main {name} "],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        return int(listed.stdout.split()[0])

    def close(self) -> None:
        self.client.close()
        for process in (self.robot, self.plant):
            process.terminate()
            process.wait(30)
        self._log.close()


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path / "server")
    enrol_robot(site.keys, "r", tmp_path / "robot")
    with site.running():
        pass  # learns its port
    return site


@pytest.fixture
def unit(site: Site, tmp_path: Path) -> Iterator[Unit]:
    unit = Unit(tmp_path, site.endpoint)
    yield unit
    unit.close()


def drives(site: Site, unit: Unit) -> None:
    """Publish a policy, wait until it is active, and let the robot run."""
    keys = load_server_keys(site.keys)
    repository = open_repository(site.repository, keys.trust)
    with site.running() as ingest:
        ingest.policy_version = repository.publish(*make_bundle(1))
        unit.reaches(lambda status: status.active_version == 1)
        assert unit.client.command(Start()).ok
        unit.reaches(lambda status: status.mode == Mode.RUN.name)


def test_half_a_minute_without_server_and_a_killed_agent_lose_nothing(
    site: Site, unit: Unit
) -> None:
    drives(site, unit)
    killed, gone_s = False, time.monotonic()
    seen = set()
    while (away_s := time.monotonic() - gone_s) < AWAY_S:
        if status := unit.status():
            seen.add(status.mode)
        if not killed and away_s > AWAY_S / 2:
            os.kill(unit.child("agent"), signal.SIGKILL)
            killed = True
        time.sleep(0.05)
    assert seen <= MOVING_NAMES, "control must not notice that the server is away"
    assert unit.client.command(Stop()).ok
    final = unit.at_rest()
    assert final.dropped == 0
    assert final.produced > 50 * AWAY_S * 0.9
    with site.running() as ingest:
        until(lambda: ingest.reports.get("r") is not None, 40.0)
        until(lambda: sum(len(rows) for _, rows in site.seen) >= final.produced, 40.0)
    with site.store() as store:
        account = store.account("r")
    assert (account.committed, account.holes, account.duplicates) == (final.produced, 0, 0)
    assert account.declared == 0


def test_a_silent_policy_stops_the_motor_by_the_motor_itself(site: Site, unit: Unit) -> None:
    """Control is frozen as by a policy that never answers; nobody but the motor node can act."""
    drives(site, unit)
    control = unit.child("control")
    os.kill(control, signal.SIGSTOP)
    try:
        quiet_until_s = (
            time.monotonic() + 5 * WATCHDOG_S
        )  # asking the motor would feed its watchdog
        until(lambda: time.monotonic() > quiet_until_s)
        assert register(unit.tty, xl330.BUS_WATCHDOG) == xl330.WATCHDOG_TRIPPED
        assert register(unit.tty, xl330.PRESENT_CURRENT) == 0
    finally:
        os.kill(control, signal.SIGCONT)
    unit.reaches(lambda status: status.missed_ticks > 0)
    unit.reaches(lambda status: status.mode in {Mode.RUN.name, Mode.IDLE.name})


def register(tty: Path, wanted: xl330.Register) -> int:
    """One register of the arm's motor, read over the pty beside its frozen owner."""
    line, parser = os.open(tty, os.O_RDWR | os.O_NOCTTY), dxl.Parser()
    try:
        os.write(line, dxl.make_read(1, wanted.address, wanted.size))
        while select.select([line], [], [], 1.0)[0]:
            for frame in parser.feed(os.read(line, 4096)):
                status = dxl.parse_status(frame)
                if len(status.params) == wanted.size:
                    return wanted.unpack(status.params)
    finally:
        os.close(line)
    raise AssertionError(f"no answer for {wanted.name}")
