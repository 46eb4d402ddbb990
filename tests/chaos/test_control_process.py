"""Is the robot safe whatever dies? Real processes, a real pseudo-terminal, real time.

Every wait is for a condition with a deadline; nothing sleeps and hopes.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from onboard.bus_choice import bus_for
from onboard.control_api import Clear, Done, Estop, Start, Status, Stop
from onboard.control_process import RING_END_FILE
from onboard.control_socket import ControlClient
from onboard.durable import read_number
from onboard.exit_status import Exit
from onboard.ring import RingReader
from onboard.serial_port import SerialPort
from protocol import dynamixel as dxl
from protocol import xl330
from protocol.errors import WireError
from protocol.modes import Mode
from protocol.robot_spec import RobotSpec
from protocol.step_record import dtype_of

ROBOT = Path(__file__).parents[2] / "hw_configs" / "furuta.toml"
DEADLINE_S = 30.0
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}

Make = Callable[..., Path]


def until(found: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        if value := found():
            return value
        time.sleep(0.01)
    raise AssertionError(f"not within {DEADLINE_S} s: {what}")


class Robot:
    """A plant on a pty, a control process on it, and a client."""

    def __init__(self, folder: Path) -> None:
        self.tty, self.state, self.runtime = folder / "tty", folder / "state", folder / "run"
        self.client = ControlClient(self.runtime / "control.sock")
        self.processes: list[subprocess.Popen[bytes]] = []
        self.plant = self.start_plant()
        self.control = self.start_control()

    def spawn(
        self, *arguments: object, stderr: int = subprocess.DEVNULL
    ) -> subprocess.Popen[bytes]:
        argv = [sys.executable, *map(str, arguments)]
        process = subprocess.Popen(argv, env=ENVIRONMENT, stderr=stderr)
        self.processes.append(process)
        return process

    def start_plant(self) -> subprocess.Popen[bytes]:
        process = self.spawn(
            "-m", "sim_harness.main", "plant", "--robot", ROBOT, "--link", self.tty
        )
        until(self.tty.exists, "the plant is up")
        return process

    def start_control(
        self, *python: object, stderr: int = subprocess.DEVNULL
    ) -> subprocess.Popen[bytes]:
        return self.spawn(
            *(python or ("-m", "onboard.main")),
            *("control", "--robot", ROBOT, "--port", self.tty),
            *("--state", self.state, "--runtime", self.runtime),
            stderr=stderr,
        )

    def restart_control(self, *python: object, stderr: int = subprocess.DEVNULL) -> None:
        self.control.terminate()
        self.control.wait(20)
        self.control = self.start_control(*python, stderr=stderr)

    def torque(self) -> int:
        """As the motor has it; control must have ended."""
        probe = Probe(self.tty)
        try:
            return probe.read(xl330.TORQUE_ENABLE)
        finally:
            probe.close()

    def command_line(self, command: str, *more: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "onboard.main", command, "--robot", str(ROBOT)]
        argv += ["--state", str(self.state), "--runtime", str(self.runtime), *more]
        return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)

    def status(self) -> Status | None:
        with suppress(WireError):
            return self.client.status()
        return None

    def until(self, condition: Callable[[Status], bool], what: str) -> Status:
        def look() -> Status | None:
            status = self.status()
            return status if status is not None and condition(status) else None

        return until(look, what)

    def until_mode(self, mode: Mode) -> Status:
        return self.until(lambda status: status.mode == mode.name, f"mode {mode.name}")

    def load(self, folder: Path, version: int) -> None:
        def offered() -> bool:
            return self.client.offer(version, folder).ok

        until(offered, f"offer of {version} taken")
        self.until(lambda status: status.active_version == version, f"policy {version} active")

    def command(self, request: Any) -> Done:
        return self.client.command(request)

    def drive(self, folder: Path) -> None:
        """To RUN with policy 1."""
        self.until_mode(Mode.IDLE)
        self.load(folder, 1)
        assert self.command(Start()).ok
        self.until_mode(Mode.RUN)

    def close(self) -> None:
        self.client.close()
        for process in self.processes:
            if process.poll() is None:
                process.terminate()
        for process in self.processes:
            process.wait(20)


@pytest.fixture
def robot(tmp_path: Path) -> Iterator[Robot]:
    robot = Robot(tmp_path)
    yield robot
    robot.close()


class Probe:
    """Reads motor registers over the pty, as the official tools would."""

    def __init__(self, tty: Path) -> None:
        self._port = SerialPort(tty, 1_000_000).open()

    def read(self, register: xl330.Register) -> int:
        parser, end = dxl.Parser(), time.monotonic() + 1.0
        self._port.discard_input()
        self._port.write(dxl.make_read(1, register.address, register.size))
        while time.monotonic() < end:
            for frame in parser.feed(self._port.read(0.1)):
                return register.unpack(dxl.parse_status(frame).params)
        raise AssertionError(f"no answer for {register.name}")

    def close(self) -> None:
        self._port.close()


def test_a_killed_control_leaves_a_stopped_motor_and_comes_back_idle(
    robot: Robot, make_bundle: Make, furuta: RobotSpec
) -> None:
    robot.drive(make_bundle(1, gain=0.0, bias=0.5))
    robot.until(lambda status: status.step > 10, "ten steps")
    robot.control.send_signal(signal.SIGKILL)
    robot.control.wait(10)
    time.sleep(4 * furuta.bus.watchdog_s)  # silence is the test: reading feeds the watchdog
    probe = Probe(robot.tty)
    until(lambda: probe.read(xl330.PRESENT_CURRENT) == 0, "no current flows")
    assert probe.read(xl330.BUS_WATCHDOG) == xl330.WATCHDOG_TRIPPED
    assert probe.read(xl330.GOAL_CURRENT) == 0
    assert probe.read(xl330.TORQUE_ENABLE) == 1  # it was the watchdog and nobody else
    probe.close()
    reader = RingReader(robot.runtime / "ring", dtype_of(furuta))
    before = reader.peek(100_000)
    assert before[-1]["mode"] == Mode.RUN  # what it had recorded is still there
    robot.control = robot.start_control()
    robot.until_mode(Mode.IDLE)
    status = robot.until(lambda status: status.active_version == 1, "the committed policy is back")
    assert status.produced >= len(before)
    ticks = status.ticks
    robot.until(lambda status: status.ticks > ticks + 25, "half a second in IDLE")
    after = reader.peek(100_000)[len(before) :]
    assert set(after["mode"]) == {Mode.IDLE}
    assert (after["seq"] > before["seq"][-1]).all()
    reader.close()
    end = robot.state / RING_END_FILE
    assert not end.exists()  # while it runs nobody knows
    robot.control.terminate()
    assert robot.control.wait(10) == 0
    assert read_number(end) > after["seq"][-1]
    probe = Probe(robot.tty)
    assert probe.read(xl330.TORQUE_ENABLE) == 0
    probe.close()


def test_it_homes_runs_episodes_swaps_in_motion_and_stops(robot: Robot, make_bundle: Make) -> None:
    robot.drive(make_bundle(1))
    before = robot.until(lambda status: status.step > 20, "twenty steps")
    robot.load(make_bundle(2, exploration=0.1), 2)
    swapped = robot.until(lambda status: status.mode == "RUN", "still running")
    assert swapped.episode == before.episode
    done = robot.until(lambda status: status.committed == 2, "probation passed")
    outcomes = [(event.version, event.outcome) for event in done.events]
    assert outcomes == [(1, "activated"), (1, "committed"), (2, "activated"), (2, "committed")]
    assert done.produced > 500
    assert done.dropped == 0
    found = robot.command_line("status", "--json")
    assert found.returncode == 0
    assert json.loads(found.stdout)["active_version"] == 2
    assert robot.command(Stop()) == Done(ok=True, detail="IDLE")


def test_the_operator_chooses_the_policy_and_a_restart_remembers(
    robot: Robot, make_bundle: Make
) -> None:
    """Offers from the agent's side, everything else from the command line."""

    def told(*words: str) -> str:
        done = robot.command_line("policy", *words)
        return (done.stdout or done.stderr).strip()

    held = robot.state / "bundles"
    held.mkdir(parents=True)
    for version in (1, 2, 3):
        make_bundle(version).rename(held / str(version))
    robot.until_mode(Mode.IDLE)
    for version in (1, 2):
        robot.load(held / str(version), version)
    assert told("rollback") == "policy 1 drives"
    assert told("pin", "1") == "already active"
    assert "held back" in robot.client.offer(3, held / "3").detail
    robot.control.send_signal(signal.SIGKILL)
    robot.control.wait(10)
    robot.control = robot.start_control()
    robot.until(lambda status: status.active_version == 1, "the pinned policy is back")
    assert "held back" in robot.client.offer(3, held / "3").detail
    assert [line.split(maxsplit=1) for line in told("list").splitlines()] == [
        ["3", "held back: this robot is pinned to policy 1"],
        ["2", "held back: this robot is pinned to policy 1"],
        ["1", "drives, pinned, committed"],
    ]
    assert told("unpin") == "not pinned"
    robot.load(held / "3", 3)


def test_estop_latches_and_clears_from_the_command_line(robot: Robot, make_bundle: Make) -> None:
    robot.drive(make_bundle(1))
    assert robot.command_line("estop").returncode == 0
    assert robot.until_mode(Mode.ESTOP)
    refused = robot.command_line("start")
    assert refused.returncode == 1
    assert "cannot start in ESTOP" in refused.stderr
    assert robot.command_line("clear").returncode == 0
    robot.until_mode(Mode.IDLE)
    assert "IDLE" in robot.command_line("status").stdout


def test_a_plant_that_dies_is_a_fault_and_can_come_back(robot: Robot, make_bundle: Make) -> None:
    robot.drive(make_bundle(1))
    robot.plant.send_signal(signal.SIGKILL)
    fault = robot.until_mode(Mode.FAULT)
    assert "ticks without bus" in fault.reason
    assert fault.bus_misses <= 10
    robot.tty.unlink()
    robot.plant = robot.start_plant()
    assert robot.command(Clear()).ok
    robot.until_mode(Mode.IDLE)
    assert robot.command(Start()).ok  # the policy is still there
    robot.until_mode(Mode.RUN)


def test_a_plant_that_freezes_is_a_fault_within_the_allowed_misses(
    robot: Robot, make_bundle: Make
) -> None:
    """The line stays open but nobody answers."""
    robot.drive(make_bundle(1))
    robot.plant.send_signal(signal.SIGSTOP)
    try:
        fault = robot.until_mode(Mode.FAULT)
    finally:
        robot.plant.send_signal(signal.SIGCONT)
    assert "5 ticks without bus" in fault.reason


def test_an_end_without_confirmed_torque_off_is_no_success(robot: Robot, make_bundle: Make) -> None:
    robot.drive(make_bundle(1))
    robot.plant.send_signal(signal.SIGKILL)
    robot.until_mode(Mode.FAULT)
    robot.control.terminate()
    assert robot.control.wait(20) == 3


@pytest.fixture
def no_nohup() -> Iterator[None]:
    """A robot started under nohup ignores a closed terminal, as it should; the suite may be."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def test_a_closed_terminal_stops_the_robot_in_good_order(
    no_nohup: None, robot: Robot, make_bundle: Make
) -> None:
    robot.drive(make_bundle(1))
    robot.control.send_signal(signal.SIGHUP)
    assert robot.control.wait(20) == 0
    assert robot.torque() == 0


@pytest.mark.parametrize("reader", ["gone", "stuck"])
def test_a_log_that_nobody_reads_keeps_nobody_from_stopping_it(
    robot: Robot, make_bundle: Make, reader: str
) -> None:
    reading, writing = os.pipe()
    if reader == "gone":
        os.close(reading)
    else:
        fill(writing)
    robot.restart_control(stderr=writing)
    os.close(writing)
    robot.drive(make_bundle(1))
    assert robot.command(Estop()) == Done(ok=True, detail="ESTOP")
    assert robot.until_mode(Mode.ESTOP)
    robot.control.terminate()
    assert robot.control.wait(20) == 0
    if reader == "stuck":
        os.close(reading)


def fill(pipe: int) -> None:
    """Until a write of one byte would block; the pipe blocks afterwards."""
    os.set_blocking(pipe, False)
    with suppress(BlockingIOError):
        while True:
            os.write(pipe, bytes(4096))
    os.set_blocking(pipe, True)


BROKEN_DESK = """
import sys
from pathlib import Path
import onboard.desk
from onboard.main import main
snapshot, broken = onboard.desk.snapshot, Path(sys.argv.pop(1))
def failing(*arguments):
    if broken.exists():
        raise RuntimeError("a defect")
    return snapshot(*arguments)
onboard.desk.snapshot = failing
main()
"""


def test_a_robot_that_nobody_can_stop_any_more_stops(
    robot: Robot, make_bundle: Make, tmp_path: Path
) -> None:
    """A defect ends the socket's thread while it drives."""
    broken = tmp_path / "broken"
    robot.restart_control("-c", BROKEN_DESK, broken)
    robot.drive(make_bundle(1))
    broken.touch()
    assert robot.status() is None
    assert robot.control.wait(20) == Exit.DEFECT
    assert robot.torque() == 0


def test_a_policy_that_turns_nan_is_rolled_back_in_flight(
    robot: Robot, make_bundle: Make, furuta: RobotSpec
) -> None:
    """Version 2 is finite on its golden vectors and overflows on the robot's observations."""
    robot.drive(make_bundle(1))
    robot.load(overflowing(make_bundle, furuta), 2)
    status = robot.until(lambda status: status.rolled_back == 1, "rolled back")
    assert status.active_version == 1
    assert status.events[-1].outcome == "rolled_back"
    assert "3 unusable answers in a row" in status.events[-1].reason
    ticks = status.ticks
    later = robot.until(lambda status: status.ticks > ticks + 10, "it goes on")
    assert later.mode in ("RUN", "RECOVER", "HOLD")  # HOLD: this machine may stall


def overflowing(make_bundle: Make, furuta: RobotSpec) -> Path:
    """``sqrt`` of the pendulum's cosine: NaN as soon as it hangs, fine where it was tested."""
    import hashlib

    import numpy as np
    import safetensors.numpy
    from onnx import TensorProto, helper

    def value(name: str, *shape: int) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    nodes = [
        helper.make_node("Gemm", ["obs", "w"], ["picked"]),
        helper.make_node("Sqrt", ["picked"], ["root"]),
        helper.make_node("Add", ["root", "noise"], ["action"]),
    ]
    inputs = [value("obs", 1, 7), value("noise", 1, 1), value("w", 7, 1)]
    graph = helper.make_graph(nodes, "overflowing", inputs, [value("action", 1, 1)])
    opset = [helper.make_opsetid("", 18)]
    data = helper.make_model(graph, opset_imports=opset, ir_version=10).SerializeToString()
    w = np.zeros((7, 1), dtype=np.float32)
    w[1] = 1.0
    weights = safetensors.numpy.save({"w": w})
    obs = np.abs(np.random.default_rng(0).standard_normal((3, 7))).astype(np.float32)
    folder = make_bundle(
        2,
        graph=data,
        weights_sha256=hashlib.sha256(weights).hexdigest(),
        golden_obs=obs.tobytes(),
        golden_noise=np.zeros(3, dtype=np.float32).tobytes(),
        golden_action=np.sqrt(obs[:, 1]).tobytes(),
    )
    (folder / "weights.safetensors").write_bytes(weights)
    return folder


def test_the_self_test_reports_the_bus_and_its_timing(robot: Robot, furuta: RobotSpec) -> None:
    argv = [sys.executable, "-m", "onboard.main", "selftest", "--robot", str(ROBOT)]
    argv += ["--port", str(robot.tty)]
    robot.until_mode(Mode.IDLE)
    busy = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert busy.returncode == 3  # control has the line to itself
    assert "cannot open the motor bus" in busy.stdout
    robot.control.terminate()
    robot.control.wait(10)
    free = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert free.returncode == 0, free.stderr
    assert "arm: id 1, model 1200" in free.stdout
    assert "fast sync read: p50" in free.stdout
    bus = bus_for(furuta, lambda: SerialPort(robot.tty, 1_000_000).open(), time.monotonic)
    bus.connect()
    bus.close()


def test_commands_without_control_say_so(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "onboard.main", "start", "--robot", str(ROBOT)]
    argv += ["--runtime", str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 4
    assert "control is not running" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--robot", "nowhere.toml", "--port", "/dev/null"], "cannot read the robot file"),
        (["--robot", str(ROBOT), "--port", "/dev/null", "--task", "walk"], "no task 'walk'"),
    ],
)
def test_wrong_configuration_ends_with_one_line(arguments: list[str], text: str) -> None:
    argv = [sys.executable, "-m", "onboard.main", "control", *arguments]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert text in done.stderr
    assert "Traceback" not in done.stderr
