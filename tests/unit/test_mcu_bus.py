"""Does the driver of the microcontroller link read, drive and check a board, and name faults?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from made_arm import load_arm
from made_loop import Bench
from made_mcu import load_mcu_robot
from made_policy import write_bundle
from made_rig import make_rig_port

from onboard.bus import TRIPPED, Fact
from onboard.bus_choice import bus_for
from onboard.control_api import Start
from onboard.finding import Verdict
from onboard.line import REVIVE_S
from onboard.mcu_bus import IN_TURN, McuBus
from protocol import mcu_link as mcu
from protocol.errors import BusError, ConfigError
from protocol.modes import Mode
from protocol.robot_checks import problems
from protocol.robot_spec import RobotSpec
from sim_harness.wire_end import Brake, Reading


@pytest.fixture(scope="module")
def spec() -> RobotSpec:
    return load_mcu_robot()


@pytest.fixture
def port(spec: RobotSpec) -> Any:
    return make_rig_port(spec)


@pytest.fixture
def bus(spec: RobotSpec, port: Any) -> McuBus:
    return McuBus(spec, lambda: port, port.clock.now_s)


def board(port: Any) -> Any:
    return port.rig._firmware


def test_the_robot_file_asks_for_this_driver(spec: RobotSpec, port: Any) -> None:
    assert isinstance(bus_for(spec, lambda: port, port.clock.now_s), McuBus)


def test_connecting_takes_torque_away_and_says_who_is_there(bus: McuBus, port: Any) -> None:
    bus.connect()
    bus.power_on()
    nodes = bus.connect()
    assert not board(port)._powered
    assert [(node.name, node.id, node.model_number, node.firmware) for node in nodes] == [
        ("arm", 0, 1, 100),
        ("pendulum", 1, 1, 100),
    ]
    assert nodes[0].voltage_v == pytest.approx(5.0)
    assert nodes[0].temperature_c == 30.0


def test_readings_are_those_of_the_joints(bus: McuBus, port: Any) -> None:
    bus.connect()
    assert bus.position_rad == pytest.approx(port.rig._plant.position_rad(), abs=1e-4)
    assert bus.position_count[1] == round((bus.position_rad[1] - 3.141592653589793) * 1e5)


def test_goals_are_driven_and_the_arm_moves(bus: McuBus, port: Any) -> None:
    bus.connect()
    assert bus.power_on() == [0.0]
    before_rad = bus.position_rad[0]
    for _ in range(10):
        bus.write([0.3])
        port.clock.sleep(0.02)
        bus.read()
    assert bus.position_rad[0] > before_rad + 0.05
    assert bus.velocity_rad_s[0] > 0.1
    assert bus.current_a[0] == pytest.approx(0.3, abs=0.01)


def test_power_comes_on_at_rest_and_goes_off(bus: McuBus, port: Any) -> None:
    bus.connect()
    bus.power_on()
    assert board(port)._goal_ma == [0, 0]
    assert board(port)._limit_ma == 800
    assert bus.power_off_step(True) == bus.power_off() == []
    assert not board(port)._powered
    port.dead = True
    assert bus.power_off() == ["the board: torque may still be on (no cable)"]
    assert bus.power_off_step(True) == ["the board: torque may still be on (no cable)"]
    port.dead = False
    port.clock.sleep(REVIVE_S)
    assert bus.power_off_step(True) == [], "the device was opened anew"


def test_a_late_command_finds_the_motors_braked_until_power_is_ordered_anew(
    bus: McuBus, port: Any, spec: RobotSpec
) -> None:
    bus.connect()
    bus.power_on()
    for _ in range(10):
        bus.write([0.8])
        port.clock.sleep(0.02)
        bus.read()
    assert {check.value for check in bus.check_all(Fact.WATCHDOG)} == {0.04}
    port.clock.sleep(0.06)
    bus.write([0.8])
    assert [check.value for check in bus.check_all(Fact.WATCHDOG)] == [TRIPPED]
    assert isinstance(board(port).demands(port.clock.now_ns())[0], Brake)
    assert bus.current_a[0] < 0.0  # against the motion
    port.clock.sleep(1.0)
    bus.read()
    assert abs(bus.velocity_rad_s[0]) < 1.0
    bus.power_on()
    bus.write([0.1])
    bus.read()
    assert board(port)._goal_ma == [100, 0]


def test_a_cut_is_one_packet_that_waits_for_no_answer(bus: McuBus, port: Any) -> None:
    bus.connect()
    bus.power_on()
    port.written.clear()
    before_ns = port.clock.now_ns()
    bus.cut()
    assert len(port.written) == 1
    assert port.clock.now_ns() == before_ns
    assert not board(port)._powered


def test_the_answer_to_a_cut_is_not_taken_for_a_reading(bus: McuBus, port: Any) -> None:
    bus.connect()
    stale = mcu.make_state(0, mcu.State(mcu.Flag(0), 0, 0, 0, (mcu.Channel(9, 9, 9, 9, 9, 0),) * 2))
    port.spoil = lambda data: stale + data
    bus.read()
    assert bus.position_count[0] != 9


def test_facts_are_asked_in_turn_and_cost_no_question(bus: McuBus, port: Any) -> None:
    bus.connect()
    bus.power_on()
    bus.write([0.2])
    bus.read()
    port.written.clear()
    values = {check.fact: check.value for _ in IN_TURN for check in bus.check_next()}
    assert port.written == []
    assert values == {
        Fact.FAULT: 0,
        Fact.WATCHDOG: pytest.approx(0.04),
        Fact.VOLTAGE: pytest.approx(5.0),
        Fact.TORQUE: 1,
        Fact.TEMPERATURE: 30,
        Fact.GOAL: 200,
    }


def test_a_board_without_goals_tells_why(bus: McuBus, port: Any) -> None:
    bus.connect()
    bus.power_on()
    port.clock.sleep(0.1)
    bus.read()
    stopped = [check for _ in IN_TURN for check in bus.check_next()]
    assert stopped[-1][1:] == (Fact.WATCHDOG, TRIPPED)
    bus.power_off()
    off = [check for _ in IN_TURN for check in bus.check_next()]
    assert off[-1][1:] == (Fact.TORQUE, 0)


def test_a_fault_comes_with_the_reading_and_takes_the_torque(bus: McuBus, port: Any) -> None:
    bus.connect()
    bus.power_on()
    sense = board(port).sense
    board(port).sense = lambda readings: sense([readings[0]._replace(overloaded=True), readings[1]])
    bus.read()
    assert bus.alert
    assert [check.value for check in bus.check_all(Fact.FAULT)] == [1]
    assert [check.value for check in bus.check_all(Fact.TORQUE)] == [0]
    with pytest.raises(BusError, match="did not take torque on"):
        bus.power_on()
    with pytest.raises(BusError, match=r"node 0 \(arm\) reports hardware error 0x01"):
        bus.connect()


def test_power_that_a_cut_took_does_not_come_back_with_a_retry(bus: McuBus, port: Any) -> None:
    """The cut comes between the order and its answer, which is lost."""
    bus.connect()
    allowed, keep = [True], port.write

    def write(data: bytes) -> None:
        keep(data)
        if board(port)._powered:
            allowed[0], port.mute = False, True
            bus.cut()

    port.write = write
    port.spoil = lambda data: b"" if board(port)._powered else data
    with pytest.raises(BusError, match="an emergency stop is latched"):
        bus.power_on(lambda: allowed[0])
    assert allowed == [False]
    assert not board(port)._powered


def test_a_silent_board_is_an_error_within_the_deadline(bus: McuBus, port: Any) -> None:
    bus.connect()
    port.mute = True
    before_s = port.clock.now_s()
    with pytest.raises(BusError, match="0 of 1 answers within 6 ms"):
        bus.read()
    assert port.clock.now_s() - before_s < 0.007


def test_a_flipped_byte_is_never_taken_for_a_reading(bus: McuBus, port: Any) -> None:
    bus.connect()
    before = list(bus.position_count)
    for position in range(1, 30):
        port.spoil = lambda data, at=position: (
            data[:at] + bytes((data[at] ^ 0x40,)) + data[at + 1 :]
        )
        with pytest.raises(BusError):
            bus.read()
    assert bus.position_count == before


@pytest.mark.parametrize("kind", [mcu.Kind.IDENTITY, mcu.Kind.STATE])
def test_an_answer_without_sense_is_an_error(bus: McuBus, port: Any, kind: mcu.Kind) -> None:
    """Sound frames of the right sequence, with a payload that no such frame has."""
    port.spoil = lambda data: mcu.make_frame(kind, bus._sequence, b"?")
    with pytest.raises(BusError, match="does not say who it is"):
        bus.connect()
    with pytest.raises(BusError, match="makes no sense"):
        bus.read()


def test_goals_that_no_frame_can_hold_are_not_sent(bus: McuBus, port: Any) -> None:
    bus.connect()
    port.written.clear()
    with pytest.raises(BusError, match="goals do not fit the link"):
        bus.write([99.0])
    assert port.written == []


def test_sequences_wrap_around_and_goals_still_arrive(bus: McuBus, port: Any) -> None:
    bus.connect()
    bus._sequence = mcu.MAX_SEQUENCE - 2
    bus.power_on()
    for current in (1, 2, 3, 4):
        bus.write([current * 1e-3])
        assert board(port)._goal_ma == [current, 0]


def test_a_closed_line_is_given_back(bus: McuBus) -> None:
    bus.connect()
    bus.close()
    with pytest.raises(BusError, match="not connected"):
        bus.read()


def test_one_lost_answer_does_not_stop_the_set_up(bus: McuBus, port: Any) -> None:
    lost = iter([True, False, True])
    port.spoil = lambda data: b"" if next(lost, False) else data
    assert len(bus.connect()) == 2


def test_another_version_is_named(bus: McuBus, port: Any) -> None:
    def foreign(data: bytes) -> bytes:
        """An answer of version 2."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(mcu, "VERSION", 2)
            return mcu.make_identity(1, mcu.Identity(1, 200, 1, 2))

    port.spoil = foreign
    with pytest.raises(BusError, match="another version of the link than 1; update its firmware"):
        bus.connect()


def test_a_board_with_other_channels_is_refused(spec: RobotSpec, port: Any) -> None:
    one = msgspec.structs.replace(spec, joints=spec.joints[:1])
    with pytest.raises(BusError, match="has 2 channels, the robot file 1 joints"):
        McuBus(one, lambda: port, port.clock.now_s).connect()


def test_a_channel_without_motor_is_named(bus: McuBus, port: Any) -> None:
    board(port)._motors = [False, True]
    with pytest.raises(BusError, match=r"node 0 \(arm\) has no motor on this board"):
        bus.connect()


def test_a_bad_supply_is_refused(spec: RobotSpec, port: Any) -> None:
    safety = msgspec.structs.replace(spec.safety, voltage_min_v=5.5)
    strict = msgspec.structs.replace(spec, safety=safety)
    with pytest.raises(BusError, match=r"5.0 V is outside"):
        McuBus(strict, lambda: port, port.clock.now_s).connect()


def test_the_audit_knows_the_deadline(bus: McuBus) -> None:
    (finding,) = bus.audit(bus.connect())
    assert finding.verdict is Verdict.OK
    assert finding.detail == "40 ms, in every command"


def test_position_mode_is_refused(port: Any) -> None:
    with pytest.raises(ConfigError, match="current mode only"):
        McuBus(load_arm(), lambda: port, port.clock.now_s)


def test_ids_that_are_no_channels_are_a_problem(spec: RobotSpec) -> None:
    joints = [msgspec.structs.replace(spec.joints[0], id=3), spec.joints[1]]
    found = problems(msgspec.structs.replace(spec, joints=joints))
    assert found == ["joints: on an 'mcu' link ids are channels: 0, 1, … up to 1, in order"]


def test_a_board_without_supply_says_so(bus: McuBus, port: Any) -> None:
    bus.connect()
    board(port).sense([Reading(0, 0.0, 0.0, 3.1, 30.0)] * 2)
    board(port).sense = lambda readings: None
    (check,) = bus.check_all(Fact.VOLTAGE)
    assert check.value == pytest.approx(3.1)


def test_an_absent_board_does_not_answer(bus: McuBus, port: Any) -> None:
    bus.connect()
    board(port).absent.add(1)
    with pytest.raises(BusError, match="0 of 1"):
        bus.read()


@pytest.fixture
def running(spec: RobotSpec, port: Any, tmp_path: Path) -> Iterator[Bench]:
    """Five ticks into the first episode of a policy."""
    bench = Bench(spec, port, tmp_path)
    bench.boot()
    bench.load(write_bundle(tmp_path, spec, 1), 1)
    assert bench.obey(Start()).ok
    bench.until(Mode.RUN)
    bench.run(5)
    yield bench
    bench.close()


def test_a_board_that_restarts_is_driven_home_and_goes_on(running: Bench, port: Any) -> None:
    board(port).restart(0)
    running.until(Mode.HOLD)
    assert "restarted" in running.control.life.reason
    running.until(Mode.RECOVER)
    running.until(Mode.RUN)
    assert board(port)._powered


def test_a_loop_that_was_away_too_long_starts_over(running: Bench, port: Any) -> None:
    """The board has braked; the loop finds out, holds, and orders power anew."""
    port.clock.sleep(0.1)
    running.until(Mode.HOLD, ticks=3)
    assert "watchdog stopped it" in running.control.life.reason
    running.until(Mode.RUN)
    assert not board(port)._stopped
