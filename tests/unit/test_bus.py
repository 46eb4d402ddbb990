"""Does the driver read, drive and check real firmware, and turn every fault into one BusError?"""

from __future__ import annotations

import math
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import pytest

from onboard.bus import TRIPPED, Fact
from onboard.dynamixel_bus import DynamixelBus, watchdog_count
from onboard.serial_port import SerialPort, latency_warning
from protocol import dynamixel as dxl
from protocol import xl330
from protocol.dynamixel_nodes import FAST_SYNC_READ_FIRMWARE, NODES
from protocol.errors import BusError
from protocol.robot_spec import RobotSpec


def servo(port: Any) -> Any:
    return port.rig._firmware._nodes[1]


def encoder(port: Any) -> Any:
    return port.rig._firmware._nodes[2]


@pytest.fixture
def bus(furuta: RobotSpec, rig_port: Any) -> DynamixelBus:
    return DynamixelBus(furuta, lambda: rig_port, rig_port.clock.now_s)


def test_connecting_sets_every_node_up_and_moves_nothing(bus: DynamixelBus, rig_port: Any) -> None:
    nodes = bus.connect()
    assert [(node.name, node.model_number) for node in nodes] == [
        ("arm", 1200),
        ("pendulum", NODES["encoder-12bit"].number),
    ]
    table = servo(rig_port).table
    assert table.get(xl330.OPERATING_MODE) == xl330.CURRENT_MODE
    assert table.get(xl330.RETURN_DELAY) == encoder(rig_port).table.get(xl330.RETURN_DELAY) == 0
    assert table.get(xl330.BUS_WATCHDOG) == 2
    assert table.get(xl330.CURRENT_LIMIT) == 800
    assert table.get(xl330.TORQUE_ENABLE) == table.get(xl330.GOAL_CURRENT) == 0
    assert bus.fast


def test_positions_are_those_of_the_joints(bus: DynamixelBus, rig_port: Any) -> None:
    bus.connect()
    arm, pendulum = bus.position_rad
    assert arm == pytest.approx(0.0, abs=0.1)
    assert abs(math.remainder(pendulum - math.pi, 2 * math.pi)) < 0.2  # it hangs


def test_old_firmware_is_read_node_by_node_with_the_same_result(
    bus: DynamixelBus, rig_port: Any
) -> None:
    bus.connect()
    fast = list(bus.position_rad)
    for node in (servo(rig_port), encoder(rig_port)):
        node.table.put(xl330.FIRMWARE_VERSION, FAST_SYNC_READ_FIRMWARE - 1)
    bus.connect()
    assert not bus.fast
    assert bus.position_rad == pytest.approx(fast, abs=0.02)


def test_a_current_arrives_in_the_motor_and_torque_can_be_cut(
    bus: DynamixelBus, rig_port: Any
) -> None:
    bus.connect()
    bus.power_on()
    bus.write([-0.123])
    assert servo(rig_port).table.get(xl330.GOAL_CURRENT) == -123
    assert servo(rig_port).demand == pytest.approx(-0.123)
    assert bus.power_off() == []
    assert servo(rig_port).demand == 0.0


def test_power_on_after_a_tripped_watchdog_does_not_jump(bus: DynamixelBus, rig_port: Any) -> None:
    bus.connect()
    bus.power_on()
    bus.write([0.5])
    rig_port.clock.sleep(0.2)
    rig_port.catch_up()
    (check,) = bus.check_all(Fact.WATCHDOG)
    assert check.value == TRIPPED
    bus.power_on()
    assert servo(rig_port).table.get(xl330.BUS_WATCHDOG) == 2
    assert servo(rig_port).demand == 0.0


def test_slow_registers_are_read_in_turn(bus: DynamixelBus) -> None:
    bus.connect()
    seen = [check for _ in range(7) for check in bus.check_next()]
    assert {check.node.name for check in seen} == {"arm"}
    assert [(check.fact, check.value) for check in seen[:6]] == [
        (Fact.FAULT, 0),
        (Fact.WATCHDOG, 0.04),
        (Fact.VOLTAGE, 5.0),
        (Fact.TORQUE, 0),
        (Fact.TEMPERATURE, 30),
        (Fact.GOAL, 0),
    ]
    assert seen[6] == seen[0]


def test_a_silent_bus_is_an_error_within_the_deadline(bus: DynamixelBus, rig_port: Any) -> None:
    bus.connect()
    rig_port.mute = True
    before_s = rig_port.clock.now_s()
    with pytest.raises(BusError, match="0 of 1 answers within 6 ms"):
        bus.read()
    assert rig_port.clock.now_s() - before_s < 0.007


def test_a_babbling_line_is_an_error_within_the_deadline(
    bus: DynamixelBus, rig_port: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus.connect()
    clock, start_s = rig_port.clock, rig_port.clock.now_s()

    def babble(timeout_s: float) -> bytes:
        clock.sleep(100e-6)
        assert clock.now_s() < start_s + 1.0, "one transaction outlasts fifty ticks"
        return b"\xff\xff\xfd\x00U"

    monkeypatch.setattr(rig_port, "read", babble)
    with pytest.raises(BusError, match="0 of 1 answers within 6 ms"):
        bus.read()
    assert clock.now_s() - start_s < 0.007


def test_a_babbling_line_is_not_discarded_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    port, reads = SerialPort(Path("/dev/null"), 1_000_000), count()

    def babble(timeout_s: float) -> bytes:
        assert next(reads) < 1000
        return b"U"

    monkeypatch.setattr(port, "read", babble)
    port.discard_input()


def test_a_flipped_byte_is_never_taken_for_a_reading(bus: DynamixelBus, rig_port: Any) -> None:
    bus.connect()
    before = list(bus.position_rad)
    for position in range(20):
        rig_port.spoil = lambda data, at=position: (
            data[:at] + bytes((data[at] ^ 0x40,)) + data[at + 1 :]
        )
        with pytest.raises(BusError):
            bus.read()
    assert bus.position_rad == before


def test_one_lost_answer_does_not_stop_the_set_up(bus: DynamixelBus, rig_port: Any) -> None:
    answers = iter([b""])
    rig_port.spoil = lambda data: next(answers, data) if data else data
    bus.connect()


@pytest.mark.parametrize(
    ("register", "value", "text"),
    [
        (xl330.MODEL_NUMBER, 1190, "model number 1190"),
        (xl330.HARDWARE_ERROR, 4, "hardware error 0x04"),
    ],
)
def test_the_wrong_or_a_broken_motor_is_refused(
    bus: DynamixelBus, rig_port: Any, register: xl330.Register, value: int, text: str
) -> None:
    servo(rig_port).table.put(register, value)
    with pytest.raises(BusError, match=text):
        bus.connect()


@pytest.mark.parametrize(
    ("limit", "value", "text"),
    [("voltage_min_v", 5.5, "5.0 V is outside"), ("temperature_max_c", 20.0, "let it cool")],
)
def test_a_bad_supply_or_a_hot_motor_is_refused(
    furuta: RobotSpec, rig_port: Any, limit: str, value: float, text: str
) -> None:
    safety = msgspec.structs.replace(furuta.safety, **{limit: value})
    strict = msgspec.structs.replace(furuta, safety=safety)
    with pytest.raises(BusError, match=text):
        DynamixelBus(strict, lambda: rig_port, rig_port.clock.now_s).connect()


def test_an_absent_node_is_named(furuta: RobotSpec, rig_port: Any) -> None:
    joints = [furuta.joints[0], msgspec.structs.replace(furuta.joints[1], id=9)]
    other = msgspec.structs.replace(furuta, joints=joints)
    with pytest.raises(BusError, match=r"node 9 \(pendulum\) does not answer"):
        DynamixelBus(other, lambda: rig_port, rig_port.clock.now_s).connect()


def test_a_node_that_refuses_says_why(bus: DynamixelBus, rig_port: Any) -> None:
    bus.connect()
    rig_port.spoil = lambda _: dxl.make_status(1, error=dxl.ErrorNumber.DATA_RANGE)
    with pytest.raises(BusError, match="refused: data range"):
        bus.power_on()


def test_torque_off_reaches_every_motor_and_never_raises(furuta: RobotSpec, rig_port: Any) -> None:
    """One motor exists, the other does not: the first is off, the second is reported."""
    ghost = msgspec.structs.replace(furuta.joints[0], name="ghost", id=9)
    joints = [ghost, *furuta.joints]
    other = msgspec.structs.replace(furuta, joints=joints)
    DynamixelBus(furuta, lambda: rig_port, rig_port.clock.now_s).connect()
    bus = DynamixelBus(other, lambda: rig_port, rig_port.clock.now_s)
    bus._line.open()
    servo(rig_port).table.put(xl330.TORQUE_ENABLE, 1)
    (failure,) = bus.power_off()
    assert "ghost: torque may still be on" in failure
    assert servo(rig_port).table.get(xl330.TORQUE_ENABLE) == 0


def test_torque_off_without_a_bus_reports_and_returns(furuta: RobotSpec, rig_port: Any) -> None:
    bus = DynamixelBus(furuta, lambda: rig_port, rig_port.clock.now_s)
    assert "not connected" in bus.power_off()[0]
    bus.connect()
    rig_port.dead = True
    assert "no cable" in bus.power_off()[0]


def test_the_watchdog_is_never_longer_than_asked(furuta: RobotSpec) -> None:
    for seconds, counts in ((0.06, 3), (0.079, 3), (0.08, 4), (2.54, 127)):
        settings = msgspec.structs.replace(furuta.bus, watchdog_s=seconds)
        assert watchdog_count(msgspec.structs.replace(furuta, bus=settings)) == counts


def test_a_slow_ftdi_adapter_is_noticed(tmp_path: Path) -> None:
    folder = tmp_path / "ttyUSB0"
    folder.mkdir()
    timer = folder / "latency_timer"
    timer.write_text("16\n")
    warning = latency_warning(Path("/dev/ttyUSB0"), tmp_path)
    assert warning is not None
    assert "16 ms" in warning
    timer.write_text("1\n")
    assert latency_warning(Path("/dev/ttyUSB0"), tmp_path) is None
    assert latency_warning(Path("/dev/ttyACM0"), tmp_path) is None
