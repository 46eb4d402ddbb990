"""A robot under operation: budget, metrics, logs, flights and the service manager, for real.

Control and agent as systemd would start them, a plant on a pty, no server: what a robot in the
field does for hours. Every wait is for a condition with a deadline.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from made_policy import write_bundle

from offboard.keys import enrol_robot, init_server
from onboard.control_api import SOCKET_FILE, Start, Status
from onboard.control_socket import ControlClient
from onboard.exit_status import Exit
from onboard.flight_file import read_recording
from onboard.tick import Driver
from protocol.errors import WireError
from protocol.modes import Mode
from protocol.robot_spec import load_robot_spec

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]
ROBOT = Path(__file__).parents[2] / "hw_configs" / "furuta.toml"
LIMITS = Path(__file__).with_name("budget_ci.toml")
DEADLINE_S = 30.0
WATCHDOG_US = 400_000


def until(found: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        if value := found():
            return value
        time.sleep(0.02)
    raise AssertionError(f"not within {DEADLINE_S} s: {what}")


class Unit:
    """A robot whose control reports to a service manager, which is the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state, self.runtime = folder / "state", folder / "run"
        self.tty = folder / "tty"
        init_server(folder / "keys")
        enrol_robot(folder / "keys", "r", self.state)
        self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.manager.bind(str(folder / "notify"))
        self.manager.setblocking(False)
        self.client = ControlClient(self.runtime / SOCKET_FILE)
        self.metrics_port = free_port()
        self.processes: list[subprocess.Popen[bytes]] = []
        self.spawn("sim_harness.main", "plant", "--link", self.tty)
        until(self.tty.exists, "the plant is up")
        self.control = self.start_control()
        self.agent = self.spawn(
            *("onboard.main", "agent", "--server", f"tcp://127.0.0.1:{free_port()}"),
            *("--metrics-port", self.metrics_port, *self.place),
        )

    @property
    def place(self) -> tuple[object, ...]:
        return ("--state", self.state, "--runtime", self.runtime)

    def spawn(self, module: str, *arguments: object) -> subprocess.Popen[bytes]:
        argv = [sys.executable, "-m", module, *map(str, arguments), "--robot", str(ROBOT)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        if "control" in arguments:
            environment["NOTIFY_SOCKET"] = str(self.folder / "notify")
            environment["WATCHDOG_USEC"] = str(WATCHDOG_US)
        process = subprocess.Popen(argv, env=environment, stderr=subprocess.DEVNULL)
        self.processes.append(process)
        return process

    def start_control(self) -> subprocess.Popen[bytes]:
        return self.spawn("onboard.main", "control", "--port", self.tty, *self.place)

    def command(self, name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "onboard.main", name, *map(str, arguments)]
        return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)

    def status(self) -> Status | None:
        with suppress(WireError):
            return self.client.status()
        return None

    def until_mode(self, mode: Mode) -> None:
        until(lambda: (s := self.status()) is not None and s.mode == mode.name, mode.name)

    def agent_is_up(self) -> bool:
        """It has imported what it needs, which costs as much as minutes of its work."""
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.metrics_port), 1):
            return True
        return False

    def drive(self, bundle: Path) -> None:
        until(self.agent_is_up, "the agent answers")
        self.until_mode(Mode.IDLE)
        until(lambda: self.client.offer(1, bundle).ok, "offer taken")
        until(lambda: (s := self.status()) is not None and s.active_version == 1, "active")
        assert self.client.command(Start()).ok
        self.until_mode(Mode.RUN)

    def notified(self) -> list[bytes]:
        found = []
        with suppress(BlockingIOError):
            while True:
                found.append(self.manager.recv(4096))
        return found

    def flights(self, cause: str) -> list[Path]:
        return sorted((self.state / "flights").glob(f"*-{cause}.mcap"))

    def events(self) -> list[dict[str, Any]]:
        text = (self.state / "log" / "events.jsonl").read_text()
        return [json.loads(line) for line in text.splitlines()]

    def close(self) -> None:
        self.client.close()
        self.manager.close()
        for process in self.processes:
            if process.poll() is None:
                process.terminate()
        for process in self.processes:
            process.wait(20)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture(scope="module")
def unit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Unit]:
    """One robot for all tests, which run in order; it drives when the first begins."""
    unit = Unit(tmp_path_factory.mktemp("unit"))
    try:
        unit.drive(write_bundle(unit.folder, load_robot_spec(ROBOT), 1))
        yield unit
    finally:
        unit.close()


def test_a_running_robot_keeps_the_budget_of_this_machine(unit: Unit) -> None:
    arguments = ("--robot", ROBOT, *unit.place, "--limits", LIMITS, "--json")
    done = unit.command("budget", "--seconds", 8, *arguments)
    found = json.loads(done.stdout)
    assert done.returncode == Exit.DONE, found
    measured = {measure["name"]: measure["value"] for measure in found["measures"]}
    assert measured["rate_min_share"] == pytest.approx(1.0, abs=0.03)
    assert measured["control_cpu_max_share"] > 0.0
    assert measured["agent_cpu_max_share"] > 0.0


def test_a_breach_is_named_and_ends_with_its_status(unit: Unit, tmp_path: Path) -> None:
    strict = tmp_path / "strict.toml"
    strict.write_text(re.sub("(tick_work_p99_max_us) = .*", r"\1 = 1.0", LIMITS.read_text()))
    arguments = ("--robot", ROBOT, *unit.place, "--limits", strict)
    done = unit.command("budget", "--seconds", 1, *arguments)
    assert done.returncode == Exit.NO
    assert "OVER tick_work_p99_max_us" in done.stdout
    nowhere = ("--robot", ROBOT, "--state", tmp_path, "--runtime", tmp_path)
    assert unit.command("budget", "--seconds", 0, *nowhere).returncode == Exit.AWAY


def test_the_loop_itself_tells_the_service_manager_that_it_lives(unit: Unit) -> None:
    assert unit.notified()[0] == b"READY=1\nWATCHDOG=1"
    until(lambda: b"WATCHDOG=1" in unit.notified(), "a kick")
    unit.control.send_signal(signal.SIGSTOP)
    try:
        unit.notified()
        time.sleep(3e-6 * WATCHDOG_US)  # silence is the test
        assert unit.notified() == []
    finally:
        unit.control.send_signal(signal.SIGCONT)
    until(lambda: b"WATCHDOG=1" in unit.notified(), "a kick after the freeze")


def test_prometheus_reads_what_status_says(unit: Unit) -> None:
    url = f"http://127.0.0.1:{unit.metrics_port}/metrics"
    with urllib.request.urlopen(url, timeout=10) as answer:
        text = answer.read().decode()
    lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    status = unit.status()
    assert status is not None
    assert lines["wombet_up"] == "1.0"
    assert 0 < float(lines["wombet_ticks_total"]) <= status.ticks
    assert float(lines["wombet_records_spooled_total"]) > 0


def test_status_tells_people(unit: Unit) -> None:
    done = unit.command("status", "--robot", ROBOT, *unit.place)
    assert done.returncode == Exit.DONE
    assert "policy 1 drives" in done.stdout
    assert "\ninfer span" in done.stdout


def test_a_flight_on_demand_replays_identically(unit: Unit) -> None:
    done = unit.command("dump", "--robot", ROBOT, *unit.place, "--reason", "for a look")
    assert done.returncode == Exit.DONE, done.stderr
    (flight,) = unit.flights("demand")
    assert done.stdout.strip() == str(flight)
    recording = read_recording(flight)
    assert recording.facts["reason"] == "for a look"
    assert (recording.rows["driver"] == Driver.POLICY).sum() > 50
    again = unit.command("replay", flight, "--bundle", unit.folder / "bundle-1")
    assert again.returncode == Exit.DONE, again.stdout + again.stderr
    assert again.stdout.count("compared, same") == 4
    flight.write_bytes(flight.read_bytes()[:500])
    bad = unit.command("replay", flight)
    assert bad.returncode == Exit.CONFIG
    assert "not a flight recording" in bad.stderr
    flight.unlink()


def test_an_emergency_stop_leaves_one_flight_and_one_line(unit: Unit) -> None:
    assert unit.command("estop", "--robot", ROBOT, *unit.place).returncode == Exit.DONE
    (flight,) = until(lambda: unit.flights("estop"), "the flight")
    replayed = unit.command("replay", flight, "--bundle", unit.folder / "bundle-1")
    assert replayed.returncode == Exit.DONE, replayed.stdout

    def noted() -> list[dict[str, Any]]:
        return [event for event in unit.events() if event.get("new") == "ESTOP"]

    (line,) = until(noted, "the line")
    assert line["reason"].startswith("ESTOP by")
    numbers = [event["number"] for event in unit.events() if event["event"] == "mode"]
    assert numbers == [*range(1, len(numbers) + 1)]


def test_the_last_ticks_outlive_a_kill(unit: Unit) -> None:
    unit.control.kill()
    unit.control.wait(10)
    done = unit.command("dump", "--robot", ROBOT, *unit.place)
    assert done.returncode == Exit.DONE, done.stderr
    before = read_recording(unit.flights("demand")[-1])
    assert before.rows["mode"][-1] == Mode.ESTOP
    unit.control = unit.start_control()
    (salvaged,) = until(lambda: unit.flights("killed"), "what the killed one left")
    assert (read_recording(salvaged).rows["tick"] == before.rows["tick"]).all()
    until(lambda: (s := unit.status()) is not None and s.pid == unit.control.pid, "control is back")
