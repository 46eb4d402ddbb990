"""Does the driver serve twelve servos in position mode and an IMU, safely and in two packets?"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from made_quadruped import lay, load_quadruped, make_quadruped_port

from onboard.bus import TRIPPED, Fact
from onboard.dynamixel_bus import DynamixelBus
from onboard.finding import Verdict
from protocol import dynamixel as dxl
from protocol import imu_node, xl330, xl430
from protocol.dynamixel_nodes import NODES
from protocol.errors import BusError
from protocol.register import Register
from sim_harness.imu_sensor import ImuSensor
from sim_harness.wire_end import Setpoint

SPEC = load_quadruped()
MOTORS = range(1, 13)
IMU_ID = 13
COUNT = xl330.RAD_PER_COUNT


@pytest.fixture
def port() -> Any:
    return make_quadruped_port(SPEC)


@pytest.fixture
def bus(port: Any) -> DynamixelBus:
    return DynamixelBus(SPEC, lambda: port, port.clock.now_s)


def node(port: Any, number: int) -> Any:
    return port.rig._firmware._nodes[number]


def feel_instead(port: Any, gravity: tuple[int, int, int]) -> None:
    """Whatever the body does, the IMU shows these counts."""
    imu = node(port, IMU_ID)
    imu.feel = lambda attitude: None
    for register, count in zip(imu_node.GRAVITY, gravity, strict=True):
        imu.table.put(register, count)


def held(port: Any, register: Register) -> list[int]:
    return [node(port, number).table.get(register) for number in MOTORS]


def frames(port: Any) -> list[dxl.Frame]:
    return [frame for packet in port.written for frame in dxl.Parser().feed(packet)]


def test_connecting_sets_every_servo_up_and_moves_nothing(bus: DynamixelBus, port: Any) -> None:
    nodes = bus.connect()
    assert [each.model_number for each in nodes] == [1060] * 12 + [imu_node.MODEL_NUMBER_IMU]
    assert held(port, xl330.OPERATING_MODE) == [xl430.POSITION_MODE] * 12
    assert held(port, xl330.BUS_WATCHDOG) == [5] * 12
    assert sum(held(port, xl330.TORQUE_ENABLE)) == 0
    low, high = held(port, xl330.MIN_POSITION_LIMIT), held(port, xl330.MAX_POSITION_LIMIT)
    for joint, least, most in zip(SPEC.joints, low, high, strict=True):
        assert (most - least) * COUNT == pytest.approx(
            joint.position_max_rad - joint.position_min_rad, abs=2 * COUNT
        )


def test_a_tick_is_one_question_and_one_order(bus: DynamixelBus, port: Any) -> None:
    bus.connect()
    bus.power_on()
    port.written.clear()
    bus.read()
    bus.write([0.0] * 12)
    asked, told = frames(port)
    assert asked.instruction == dxl.Instruction.FAST_SYNC_READ
    assert [*asked.params[4:]] == [*MOTORS, IMU_ID]
    assert told.instruction == dxl.Instruction.SYNC_WRITE
    assert len(told.params) == 4 + 12 * (1 + xl330.GOAL_POSITION.size)


def test_joints_and_attitude_are_those_of_the_body(bus: DynamixelBus, port: Any) -> None:
    bus.connect()
    lay(port.rig._plant, (1.0, 0.5, 0.0, 0.0))
    port.rig._plant._data.qvel[3:6] = [0.3, -0.2, 0.1]
    bus.read()
    assert bus.position_rad == pytest.approx(port.rig._plant.position_rad(), abs=1e-6)
    roll_rad = 2.0 * np.arctan(0.5)
    down = [0.0, -np.sin(roll_rad), -np.cos(roll_rad)]
    assert bus.inertial[:3] == pytest.approx(down, abs=0.05)
    assert bus.inertial[3:] == pytest.approx([0.3, -0.2, 0.1], abs=0.1)


@pytest.mark.parametrize("firmware", [45, 52])
def test_firmware_that_cannot_answer_in_one_packet_is_read_one_by_one(
    bus: DynamixelBus, port: Any, firmware: int
) -> None:
    for number in (*MOTORS, IMU_ID):
        node(port, number).table.put(xl330.FIRMWARE_VERSION, firmware)
    fast = dxl.Instruction.FAST_SYNC_READ
    keep = port.rig._firmware._instruct
    deaf = lambda frame, now: [] if frame.instruction == fast else keep(frame, now)  # noqa: E731
    port.rig._firmware._instruct = deaf
    nodes = bus.connect()
    assert not bus.fast
    told = bus.audit(nodes)[0]
    assert told.verdict is Verdict.WARNING
    assert ("older" in told.detail) == (firmware < 46)
    assert bus.position_rad == pytest.approx(port.rig._plant.position_rad(), abs=0.01)


def test_torque_comes_on_where_the_joints_are(bus: DynamixelBus, port: Any) -> None:
    bus.connect()
    goals = bus.power_on()
    assert held(port, xl330.TORQUE_ENABLE) == [1] * 12
    assert held(port, xl330.BUS_WATCHDOG) == [5] * 12
    assert held(port, xl430.POSITION_P_GAIN) == [799] * 12
    assert held(port, xl430.POSITION_D_GAIN) == held(port, xl430.POSITION_I_GAIN) == [0] * 12
    assert held(port, xl430.GOAL_PWM) == [round(885 * 1.4 / 1.5)] * 12
    for index, (joint, goal) in enumerate(zip(SPEC.joints, goals, strict=True)):
        angle = joint.sign * goal + joint.offset_rad
        assert angle == pytest.approx(bus.position_rad[index], abs=0.02)


def test_the_gain_is_that_of_the_robot_files_stiffness() -> None:
    """Full duty is 885 counts; the loop asks for P/128 of them per count of error."""
    gain = xl430.p_gain_count(6.9, 1.5)
    assert 1.5 * (gain / 128.0) / COUNT / 885.0 == pytest.approx(6.9, rel=1e-3)


def test_no_motor_gets_torque_before_every_goal_stands(bus: DynamixelBus, port: Any) -> None:
    """One servo never hears its goal: with an old one it would jump."""
    bus.connect()
    stubborn, write = node(port, 7), node(port, 7).write
    at = xl330.PROFILE_ACCELERATION.address
    stubborn.write = lambda address, data: (
        stubborn.refuse(dxl.ErrorNumber.DATA_RANGE) if address == at else write(address, data)
    )
    with pytest.raises(BusError, match=r"node 7 \(rear_left_roll\) did not take its goal"):
        bus.power_on()
    assert sum(held(port, xl330.TORQUE_ENABLE)) == 0


def test_one_lost_packet_does_not_stop_the_power_on(bus: DynamixelBus, port: Any) -> None:
    bus.connect()
    answers = iter([b""])
    port.spoil = lambda data: next(answers, data) if data else data
    bus.power_on()
    assert held(port, xl330.TORQUE_ENABLE) == [1] * 12


def test_left_alone_the_servos_hold_where_they_are_and_say_so(bus: DynamixelBus, port: Any) -> None:
    bus.connect()
    bus.power_on()
    port.clock.sleep(0.5)
    port.catch_up()
    assert [check.value for check in bus.check_all(Fact.WATCHDOG)] == [TRIPPED] * 12
    for demand, present in zip(
        port.rig._firmware.demands(port.clock.ns), held(port, xl330.PRESENT_POSITION), strict=False
    ):
        assert isinstance(demand, Setpoint)
        assert demand.duty_max > 0.9
        assert demand.goal_rad == pytest.approx((present - 2048) * COUNT, abs=0.1)
    bus.write([0.1] * 12)
    assert held(port, xl330.BUS_WATCHDOG) == [xl330.WATCHDOG_TRIPPED] * 12, "goals are read-only"
    bus.power_on()
    assert held(port, xl330.BUS_WATCHDOG) == [5] * 12


def test_torque_goes_everywhere_although_one_servo_is_gone(bus: DynamixelBus, port: Any) -> None:
    bus.connect()
    bus.power_on()
    port.rig._firmware.absent.add(5)
    (failure,) = bus.power_off()
    assert "front_right_pitch: torque may still be on" in failure
    assert sum(held(port, xl330.TORQUE_ENABLE)) == 1


def test_a_bus_without_its_imu_is_refused(bus: DynamixelBus, port: Any) -> None:
    port.rig._firmware.absent.add(IMU_ID)
    with pytest.raises(BusError, match=r"node 13 \(imu\) does not answer"):
        bus.connect()


def test_an_imu_that_feels_no_gravity_is_found(bus: DynamixelBus, port: Any) -> None:
    nodes = bus.connect()
    assert {each.verdict for each in bus.audit(nodes)} == {Verdict.OK}
    feel_instead(port, (4000, 4000, 4000))
    with pytest.raises(BusError, match=r"node 13 \(imu\) feels gravity of length 0.42"):
        bus.connect()


@pytest.mark.parametrize("gravity", [(0, 0, 0), (0, 0, -17_300), (0, 0, -15_500)])
def test_what_cannot_be_gravity_is_no_reading(
    bus: DynamixelBus, port: Any, gravity: tuple[int, int, int]
) -> None:
    """All zeros, as a node sends while its sensor hangs, would look like a fall."""
    bus.connect()
    before = [*bus.inertial], [*bus.imu_count]
    feel_instead(port, gravity)
    with pytest.raises(BusError, match="feels gravity of length"):
        bus.read()
    assert ([*bus.inertial], [*bus.imu_count]) == before
    feel_instead(port, (0, 0, -17_100))
    bus.read()
    assert bus.imu_count[:3] == [0, 0, -17_100]


def test_an_imu_s_hardware_error_is_among_the_nodes(bus: DynamixelBus, port: Any) -> None:
    bus.connect()
    node(port, IMU_ID).table.put(xl330.HARDWARE_ERROR, 4)
    bus.read()
    assert bus.alert
    faults = {check.node.name: check.value for check in bus.check_all(Fact.FAULT)}
    assert len(faults) == 13
    assert {name for name, value in faults.items() if value} == {"imu"}
    assert len(bus.check_all(Fact.WATCHDOG)) == 12, "it has none"


def test_a_load_is_shown_as_a_share_of_the_stall_torque(bus: DynamixelBus, port: Any) -> None:
    assert NODES["xl430-w250"].ampere * 1000.0 == pytest.approx(12.0 / 15.03, rel=0.01)
    bus.connect()
    bus.power_on()
    port.clock.sleep(0.05)
    port.catch_up()
    bus.read()
    kt = SPEC.body("nominal").motor_torque_constant_nm_a
    flowing = [joint.sign * amp for joint, amp in zip(SPEC.joints, bus.current_a, strict=True)]
    assert flowing == pytest.approx(port.rig._plant.current_a(), abs=0.002)
    assert max(map(abs, flowing)) * kt < 1.4


def test_an_imu_is_wrong_by_its_bias_and_its_noise_and_equal_seeds_agree(port: Any) -> None:
    plant, body = port.rig._plant, SPEC.body("target")

    def felt(seed: int) -> np.ndarray:
        sensor = ImuSensor(plant._model, body, seed)
        looks = [sensor.feel(plant._data, step, 12.0) for step in range(300)]
        return np.array([(*look.gravity, *look.turn_rate_rad_s) for look in looks])

    first = felt(1)
    np.testing.assert_array_equal(first, felt(1))
    assert not np.array_equal(first, felt(2))
    assert first[:, 3:].std(axis=0) == pytest.approx([0.05] * 3, rel=0.2)
    true = np.array(plant._data.qvel[3:6])
    bias = first[:, 3:].mean(axis=0) - true
    assert 0.005 < np.abs(bias).max() < 0.06
    np.testing.assert_allclose(np.linalg.norm(first[:, :3], axis=1), 1.0, atol=1e-9)


def test_looking_twice_in_one_step_shows_the_same(port: Any) -> None:
    assert port.rig._plant.attitude() == port.rig._plant.attitude()


def test_a_perfect_imu_is_right(port: Any) -> None:
    body = msgspec.structs.replace(
        SPEC.body("nominal"),
        **dict.fromkeys(("imu_tilt_noise_rad", "imu_tilt_bias_rad", "imu_rate_noise_rad_s"), 0.0),
        imu_rate_bias_rad_s=0.0,
    )
    plant = port.rig._plant
    lay(plant, (1.0, 0.0, 0.0, 0.0))
    look = ImuSensor(plant._model, body, 0).feel(plant._data, 0, 12.0)
    assert look.gravity == pytest.approx((0.0, 0.0, -1.0))
    assert look.turn_rate_rad_s == (0.0, 0.0, 0.0)
