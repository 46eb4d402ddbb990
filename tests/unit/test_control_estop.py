"""Does an emergency stop hold whatever the loop is doing: hanging, homing, swapping, deaf?

The whole rig, in simulated time; the loop runs in a thread where it has to hang.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from made_loop import Bench

from onboard.command import Command
from onboard.control_api import Clear, Estop, Offer, Start, Stop
from onboard.estop import EmergencyStop
from onboard.estop_latch import EstopLatch
from protocol import xl330
from protocol.envelope import Limited
from protocol.modes import Mode
from protocol.robot_spec import RobotSpec

Make = Callable[..., Path]


@pytest.fixture
def latch() -> EstopLatch:
    return EstopLatch(bytearray(1))


@pytest.fixture
def bench(furuta: RobotSpec, rig_port: Any, tmp_path: Path, latch: EstopLatch) -> Iterator[Bench]:
    bench = Bench(furuta, rig_port, tmp_path, latch=latch)
    bench.boot()
    yield bench
    bench.close()


@pytest.fixture
def running(bench: Bench, make_bundle: Make) -> Bench:
    bench.load(make_bundle(1, gain=0.0, bias=0.5), 1)
    assert bench.obey(Start()).ok
    bench.until(Mode.RUN)
    bench.run(5)
    return bench


def stop_of(bench: Bench) -> EmergencyStop:
    """Cuts are repeated without waiting: nobody obeys meanwhile in these tests."""
    return EmergencyStop(bench.control.cut, bench.control.orders.queue, lambda _: None)


class Hanging:
    """A policy that does not answer until it is released."""

    def __init__(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked, self.released = threading.Event(), threading.Event()
        ask = bench.control._pilot.ask

        def hang(*arguments: Any) -> Any:
            self.asked.set()
            assert self.released.wait(20.0)
            return ask(*arguments)

        monkeypatch.setattr(bench.control._pilot, "ask", hang)
        self._loop = threading.Thread(target=bench.run, args=(1,))
        self._loop.start()
        assert self.asked.wait(20.0)

    def release(self) -> None:
        self.released.set()
        self._loop.join(20.0)
        assert not self._loop.is_alive()


def test_a_hanging_policy_keeps_no_motor_powered(
    running: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging = Hanging(running, monkeypatch)
    assert running.motor(xl330.TORQUE_ENABLE) == 1
    command = stop_of(running).trigger("the red button")
    assert running.motor(xl330.TORQUE_ENABLE) == 0
    assert running.mode is Mode.RUN  # the loop knows nothing yet
    assert command.reply is None
    hanging.release()
    assert running.motor(xl330.TORQUE_ENABLE) == 0
    assert running.motor(xl330.GOAL_CURRENT) == 0  # what the policy said at last went nowhere
    assert running.rows()[-1]["flags"] & Limited.ESTOP
    running.run(1)
    assert command.reply is not None
    assert command.reply.ok
    assert running.mode is Mode.ESTOP
    assert running.control.life.reason == "ESTOP by the red button"


def test_a_start_that_the_loop_was_about_to_obey_powers_nothing(
    bench: Bench, make_bundle: Make
) -> None:
    bench.load(make_bundle(1), 1)
    bench.control.orders.queue.append(Command(Start()))
    stop_of(bench).trigger("a key")
    bench.run(1)
    assert bench.mode is Mode.ESTOP
    assert bench.motor(xl330.TORQUE_ENABLE) == 0


def test_a_clear_on_its_way_does_not_undo_it(running: Bench) -> None:
    running.obey(Estop())
    running.control.orders.queue.append(Command(Clear()))
    stop_of(running).trigger("a key")
    running.run(3)
    assert running.mode is Mode.ESTOP
    assert not running.obey(Start()).ok


def test_while_homing(bench: Bench, make_bundle: Make) -> None:
    bench.load(make_bundle(1), 1)
    bench.obey(Start())
    assert bench.mode is Mode.HOMING
    stop_of(bench).trigger("a key")
    assert bench.motor(xl330.TORQUE_ENABLE) == 0
    bench.run(1)
    assert bench.mode is Mode.ESTOP


@pytest.mark.parametrize("pending", [True, False])
def test_while_swapping(running: Bench, make_bundle: Make, pending: bool) -> None:
    """A candidate being staged, or ready to take over at the next tick."""
    assert running.swap.offer(Offer(version=2, directory=str(make_bundle(2)))).ok
    offer = running.swap._offers.get()
    assert offer is not None
    if pending:
        running.swap.stage(offer)
    stop_of(running).trigger("a key")
    if not pending:
        running.swap.stage(offer)
    running.run(2)
    assert running.mode is Mode.ESTOP
    assert running.motor(xl330.TORQUE_ENABLE) == 0
    assert running.swap.active_version == 2  # a swap changes what would drive, not whether


@pytest.mark.parametrize("fault", ["dead", "mute"])
def test_while_the_bus_fails(running: Bench, fault: str) -> None:
    """Where no packet arrives the motors' own watchdogs stop them; torque-off follows."""
    setattr(running.port, fault, True)
    running.run(1)
    stop_of(running).trigger("a key")
    running.run(1)
    assert running.mode is Mode.ESTOP
    if fault == "mute":
        assert running.motor(xl330.TORQUE_ENABLE) == 0  # it heard, and cannot say so
    setattr(running.port, fault, False)
    running.run(60)
    assert running.motor(xl330.TORQUE_ENABLE) == 0
    assert running.mode is Mode.ESTOP


def test_a_lost_cut_is_made_up_for_by_the_loop(
    running: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every packet of the other thread collided with an answer."""
    with monkeypatch.context() as patch:
        patch.setattr(running.port, "write", lambda data: None)
        stop_of(running).trigger("a key")
    assert running.motor(xl330.TORQUE_ENABLE) == 1
    running.run(1)
    assert running.mode is Mode.ESTOP
    assert running.motor(xl330.TORQUE_ENABLE) == 0


def test_it_is_released_by_clear_alone(running: Bench, latch: EstopLatch) -> None:
    stop_of(running).trigger("a key")
    running.run(1)
    running.obey(Stop())
    assert not running.obey(Start()).ok
    assert latch.is_set
    assert running.obey(Clear()).ok
    assert not latch.is_set
    running.until(Mode.IDLE)
    assert running.obey(Start()).ok
    running.until(Mode.RUN)
    assert running.motor(xl330.TORQUE_ENABLE) == 1


def test_clearing_a_fault_keeps_an_emergency_stop_that_came_meanwhile(
    running: Bench, latch: EstopLatch
) -> None:
    running.node(1).table.put(xl330.HARDWARE_ERROR, 32)
    running.until(Mode.FAULT)
    running.node(1).table.put(xl330.HARDWARE_ERROR, 0)
    stop_of(running).trigger("a key")
    running.run(1)
    assert running.mode is Mode.ESTOP
    assert latch.is_set


def test_a_process_that_starts_anew_powers_nothing_while_it_is_latched(
    furuta: RobotSpec, rig_port: Any, tmp_path: Path, make_bundle: Make, latch: EstopLatch
) -> None:
    """Even if nobody told the new loop."""
    latch.set()
    bench = Bench(furuta, rig_port, tmp_path, latch=latch)
    bench.boot()
    bench.load(make_bundle(1), 1)
    assert not bench.obey(Start()).ok
    assert "an emergency stop is latched" in bench.control.life.reason
    assert bench.motor(xl330.TORQUE_ENABLE) == 0
    bench.close()
