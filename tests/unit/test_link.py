import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from protocol import xl330
from protocol.dynamixel import Parser, Status, make_ping, make_read, make_write, parse_status
from protocol.errors import ConfigError
from protocol.robot_spec import load_robot_spec
from sim_harness.firmware import firmware_for
from sim_harness.link import Link
from sim_harness.plant import load_plant
from sim_harness.rig import Rig
from sim_harness.terminal import PseudoTerminal

ROBOT = Path(__file__).parents[2] / "hw_configs" / "furuta.toml"
MS = 1_000_000


def new_rig() -> Rig:
    spec = load_robot_spec(ROBOT)
    return Rig(spec, "nominal", load_plant(ROBOT, "nominal", 0), firmware_for(spec))


class ScriptedClock:
    """Advances 1 ms per look; ``script`` says what else happens at which look."""

    def __init__(self, script: dict[int, Callable[[], None]]) -> None:
        self.now_ns = 7_000 * MS
        self._looks = 0
        self._script = script

    def __call__(self) -> int:
        self._looks += 1
        self.now_ns += MS
        self._script.get(self._looks, lambda: None)()
        return self.now_ns

    def jump(self, ms: int) -> None:
        self.now_ns += ms * MS


def run_scripted(
    path: Path, script: Callable[[Link, ScriptedClock, int], dict[int, Callable[[], None]]]
) -> tuple[Rig, Link]:
    """Serve until the script stops the link; ``script`` gets a descriptor of the host's end."""
    rig = new_rig()
    clock = ScriptedClock({})
    link = Link(rig, 1_000_000, PseudoTerminal(path), clock)
    link.open()
    host = os.open(path, os.O_RDWR | os.O_NOCTTY)
    clock._script = script(link, clock, host)
    try:
        link.serve()
    finally:
        os.close(host)
        link.close()
    return rig, link


@pytest.fixture
def served(tmp_path):
    """A link in real time on a thread; yields its path."""
    link = Link(new_rig(), 1_000_000, PseudoTerminal(tmp_path / "dxl"), time.monotonic_ns)
    link.open()
    thread = threading.Thread(target=link.serve)
    thread.start()
    yield tmp_path / "dxl"
    link.stop()
    thread.join()
    link.close()


def ask(path: Path, packet: bytes) -> tuple[Status, int]:
    """The first answer to ``packet`` and the nanoseconds it took."""
    host = os.open(path, os.O_RDWR | os.O_NOCTTY)
    try:
        parser, started = Parser(), time.monotonic_ns()
        os.write(host, packet)
        while not (frames := parser.feed(os.read(host, 256))):
            pass
        return parse_status(frames[0]), time.monotonic_ns() - started
    finally:
        os.close(host)


def test_physics_keeps_up_with_the_clock(tmp_path):
    rig, link = run_scripted(tmp_path / "dxl", lambda link, clock, host: {500: link.stop})
    assert link.statistics().lost_ms == 0.0
    assert link.statistics().realtime_factor == pytest.approx(1.0, abs=0.02)
    assert rig.time_ns > 400 * MS


def test_a_process_that_was_off_the_core_catches_up_at_most_50_ms_and_owns_up_to_the_rest(tmp_path):
    rig, link = run_scripted(
        tmp_path / "dxl", lambda link, clock, host: {100: lambda: clock.jump(300), 300: link.stop}
    )
    statistics = link.statistics()
    assert 240 <= statistics.lost_ms <= 260
    assert statistics.worst_lag_ms >= 290
    assert statistics.realtime_factor < 0.7
    assert statistics.elapsed_s - statistics.simulated_s == pytest.approx(0.25, abs=0.02)
    assert rig.time_ns < 400 * MS


def test_a_command_that_waited_while_the_process_slept_still_feeds_the_watchdog(tmp_path):
    """The host was in time; the harness was late. The motor must not be stopped for that."""

    def script(link, clock, host):
        def arm() -> None:
            for register, value in (
                (xl330.OPERATING_MODE, 0),
                (xl330.TORQUE_ENABLE, 1),
                (xl330.BUS_WATCHDOG, 3),
            ):
                os.write(host, make_write(1, register.address, register.pack(value)))

        def sleep_through_a_command() -> None:
            os.write(host, make_read(1, 132, 4))
            clock.jump(200)

        return {20: arm, 60: sleep_through_a_command, 75: link.stop}

    rig, _ = run_scripted(tmp_path / "dxl", script)
    (reply,) = rig.receive(make_read(1, xl330.BUS_WATCHDOG.address, 1), rig.time_ns)
    (frame,) = Parser().feed(reply.data)
    assert parse_status(frame).params == b"\3"


def test_an_answer_takes_at_least_the_time_on_the_wire_and_the_return_delay(served):
    status, took_ns = ask(served, make_ping(1))
    assert status.params[:2] == (1200).to_bytes(2, "little")
    assert took_ns >= (10 + 14) * 10_000 + 500_000


def test_a_host_may_come_back(served):
    for node in (1, 2, 1):
        assert ask(served, make_ping(node))[0].id == node


def test_a_host_that_never_reads_does_not_stop_the_rig(served):
    deaf = os.open(served, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        for _ in range(600):
            try:
                os.write(deaf, make_ping(0xFE))
            except BlockingIOError:
                time.sleep(0.001)
    finally:
        os.close(deaf)
    assert ask(served, make_ping(1))[0].id in (1, 2)


def test_a_stale_link_is_replaced_and_its_own_removed_on_close(tmp_path):
    path = tmp_path / "dxl"
    path.symlink_to("/dev/pts/nowhere")
    link = Link(new_rig(), 1_000_000, PseudoTerminal(path), time.monotonic_ns)
    assert link.open() == os.readlink(path)
    link.close()
    assert not path.is_symlink()


def test_a_link_taken_over_by_another_is_left_alone(tmp_path):
    path = tmp_path / "dxl"
    first, second = (
        Link(new_rig(), 1_000_000, PseudoTerminal(path), time.monotonic_ns) for _ in range(2)
    )
    first.open()
    taken = second.open()
    first.close()
    assert os.readlink(path) == taken
    second.close()


def test_a_file_in_the_way_is_named_and_not_touched(tmp_path):
    path = tmp_path / "dxl"
    path.write_text("mine")
    link = Link(new_rig(), 1_000_000, PseudoTerminal(path), time.monotonic_ns)
    with pytest.raises(ConfigError, match="dxl"):
        link.open()
    assert path.read_text() == "mine"
