"""A rig to which things happen: what the host reads, what the body does."""

from __future__ import annotations

import pytest
from made_rig import ROBOT

from protocol import dynamixel as dxl
from protocol import xl330
from protocol.robot_spec import load_robot_spec
from sim_harness.hil.faults import (
    BrownOut,
    Dead,
    Drop,
    Frozen,
    Hot,
    Jump,
    Noisy,
    Overloaded,
    Payload,
    Push,
    Reboot,
    Stuck,
)
from sim_harness.hil.faulty_firmware import VELOCITY_WINDOW_S
from sim_harness.hil.stage import Stage, carrier
from sim_harness.model import compile_model

SPEC = load_robot_spec(ROBOT)
ARM, PENDULUM = 1, 2
MS = 1_000_000


@pytest.fixture
def stage() -> Stage:
    return Stage(SPEC, ROBOT.parent, "nominal", 0)


def ask(stage: Stage, packet: bytes) -> list[dxl.Status]:
    stage.advance(stage.time_ns + MS)
    parser, answers = dxl.Parser(), stage.receive(packet, stage.time_ns)
    return [dxl.parse_status(frame) for reply in answers for frame in parser.feed(reply.data)]


def read(stage: Stage, node: int, register) -> int:
    (status,) = ask(stage, dxl.make_read(node, register.address, register.size))
    return register.unpack(status.params)


def write(stage: Stage, node: int, register, value: int) -> dxl.Status:
    return ask(stage, dxl.make_write(node, register.address, register.pack(value)))[0]


def drive(stage: Stage) -> None:
    write(stage, ARM, xl330.OPERATING_MODE, xl330.CURRENT_MODE)
    write(stage, ARM, xl330.TORQUE_ENABLE, 1)
    write(stage, ARM, xl330.GOAL_CURRENT, 200)


def turns(stage: Stage) -> float:
    before = stage.plant.position_rad()[0]
    stage.advance(stage.time_ns + 200 * MS)
    return abs(stage.plant.position_rad()[0] - before)


def test_a_dead_node_does_not_answer_and_the_others_do(stage):
    stage.turn(True, Dead(node="motor", at_s=0.0))
    assert [status.id for status in ask(stage, dxl.make_ping(dxl.BROADCAST_ID))] == [PENDULUM]


def test_a_dead_motor_coasts_and_comes_back_without_torque(stage):
    drive(stage)
    fault = Dead(node="motor", at_s=0.0)
    assert stage.firmware.demands(stage.time_ns)[0] > 0.0
    stage.turn(True, fault)
    assert [*stage.firmware.demands(stage.time_ns)] == [0.0, 0.0]
    stage.turn(False, fault)
    assert read(stage, ARM, xl330.TORQUE_ENABLE) == 0
    assert read(stage, ARM, xl330.OPERATING_MODE) == xl330.CURRENT_MODE


def test_a_reboot_forgets_the_armed_watchdog(stage):
    write(stage, ARM, xl330.BUS_WATCHDOG, 5)
    for begins in (True, False):
        stage.turn(begins, Reboot(node="motor", at_s=0.0))
    assert read(stage, ARM, xl330.BUS_WATCHDOG) == 0


@pytest.mark.parametrize(
    ("fault", "bit"),
    [
        (Overloaded(joint="motor", at_s=0.0), 32),
        (Hot(joint="motor", temperature_c=90.0, at_s=0.0), 4),
        (BrownOut(supply_v=3.0, at_s=0.0), 1),
    ],
)
def test_a_servo_in_trouble_reports_it_drops_its_torque_and_latches(stage, fault, bit):
    drive(stage)
    stage.turn(True, fault)
    assert read(stage, ARM, xl330.HARDWARE_ERROR) == bit
    assert read(stage, ARM, xl330.TORQUE_ENABLE) == 0
    stage.turn(False, fault)
    assert write(stage, ARM, xl330.TORQUE_ENABLE, 1).error == dxl.ErrorNumber.RESULT_FAIL


def test_without_supply_nobody_answers_and_everybody_restarts(stage):
    drive(stage)
    cut = BrownOut(supply_v=0.0, at_s=0.0)
    stage.turn(True, cut)
    assert ask(stage, dxl.make_ping(dxl.BROADCAST_ID)) == []
    stage.turn(False, cut)
    assert len(ask(stage, dxl.make_ping(dxl.BROADCAST_ID))) == 2
    assert read(stage, ARM, xl330.TORQUE_ENABLE) == 0


def test_a_stuck_encoder_shows_its_last_place_while_the_arm_turns(stage):
    drive(stage)
    before = read(stage, ARM, xl330.PRESENT_POSITION)
    stage.turn(True, Stuck(joint="arm", at_s=0.0))
    assert turns(stage) > 0.1
    assert abs(read(stage, ARM, xl330.PRESENT_POSITION) - before) <= 1
    assert read(stage, ARM, xl330.PRESENT_VELOCITY) == 0


def test_frozen_nodes_repeat_even_their_speed(stage):
    drive(stage)
    turns(stage)
    speed = read(stage, ARM, xl330.PRESENT_VELOCITY)
    stage.turn(True, Frozen(at_s=0.0))
    turns(stage)
    assert read(stage, ARM, xl330.PRESENT_VELOCITY) == speed != 0


def test_a_jump_moves_one_encoder_and_goes_back(stage):
    jump = Jump(joint="pendulum", offset_rad=0.5, at_s=0.0)
    places = [read(stage, PENDULUM, xl330.PRESENT_POSITION)]
    for begins in (True, False):
        stage.turn(begins, jump)
        places.append(read(stage, PENDULUM, xl330.PRESENT_POSITION))
    assert places[1] - places[0] == pytest.approx(0.5 / xl330.RAD_PER_COUNT, abs=3)
    assert places[2] - places[0] == pytest.approx(0.0, abs=3)


def test_a_jump_is_a_speed_for_as_long_as_a_node_looks_back(stage):
    """At its begin and, the other way, at its end; then the speed is the pendulum's again."""
    jump = Jump(joint="pendulum", offset_rad=0.5, at_s=0.0)
    leap = 0.5 / VELOCITY_WINDOW_S / xl330.RAD_S_PER_COUNT
    for begins, sign in ((True, 1.0), (False, -1.0)):
        before = read(stage, PENDULUM, xl330.PRESENT_VELOCITY)
        stage.turn(begins, jump)
        seen = read(stage, PENDULUM, xl330.PRESENT_VELOCITY)
        assert seen - before == pytest.approx(sign * leap, abs=3)
        stage.advance(stage.time_ns + round(VELOCITY_WINDOW_S * 1e9))
        assert abs(read(stage, PENDULUM, xl330.PRESENT_VELOCITY)) < 0.1 * leap


@pytest.mark.parametrize("register", [xl330.PRESENT_POSITION, xl330.PRESENT_VELOCITY])
def test_noise_differs_from_reading_to_reading(stage, register):
    stage.turn(True, Noisy(joint="motor", sigma_rad=0.05, at_s=0.0))
    assert len({read(stage, ARM, register) for _ in range(10)}) > 5


def test_a_silent_wire_reaches_nobody(stage):
    silence = Drop(share=1.0, at_s=0.0)
    stage.turn(True, silence)
    assert ask(stage, dxl.make_ping(ARM)) == []
    stage.turn(False, silence)
    assert len(ask(stage, dxl.make_ping(ARM))) == 1


def test_a_push_moves_the_pendulum_until_it_ends(stage):
    resting = stage.plant.position_rad()[1]
    stage.turn(True, Push(weights=(0.0, 2.0, 0.0), at_s=0.0))
    stage.advance(stage.time_ns + 200 * MS)
    assert abs(stage.plant.position_rad()[1] - resting) > 0.3


@pytest.mark.parametrize(
    ("robot", "name"), [("furuta", "pendulum"), ("arm5", "hand"), ("quadruped", "trunk")]
)
def test_what_is_pushed_and_loaded_is_the_trunk_or_the_end_of_the_chain(robot, name):
    spec = load_robot_spec(ROBOT.with_name(f"{robot}.toml"))
    model = compile_model(spec, spec.body("nominal"), ROBOT.parent)
    assert model.body(carrier(model)).name == name


def test_a_payload_comes_off_and_back(stage):
    mass_kg = float(stage._model.body_mass[-1])
    masses = []
    for begins in (True, False):
        stage.turn(begins, Payload(share=0.5, at_s=0.0))
        masses.append(float(stage._model.body_mass[-1]))
    assert masses == pytest.approx([0.5 * mass_kg, mass_kg])
