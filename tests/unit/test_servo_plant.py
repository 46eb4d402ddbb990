"""Does the simulated arm move as its servos' data sheet, gravity and gears say?"""

from __future__ import annotations

from itertools import pairwise

import msgspec
import numpy as np
import pytest
from made_arm import ARM, load_arm

from protocol.errors import ConfigError
from protocol.plant_spec import Body
from sim_harness.model import compile_model
from sim_harness.plant import Plant
from sim_harness.wire_end import Setpoint

SPEC = load_arm()
PAN, LIFT, ELBOW = 0, 1, 2
NOMINAL = SPEC.body("nominal")


def build(seed: int = 0, **changes: float) -> Plant:
    """The nominal arm with some parameters replaced."""
    body: Body = msgspec.structs.replace(NOMINAL, **changes)
    return Plant(SPEC, body, compile_model(SPEC, body, ARM.parent), seed)


def hold(
    plant: Plant, *goals_rad: float, duty_max: float = 1.0, fastest_rad_s: float = 0.0
) -> None:
    plant.command([Setpoint(goal, duty_max, fastest_rad_s) for goal in goals_rad])


def test_without_torque_the_arm_sinks_to_the_floor_and_lies_there() -> None:
    plant = build()
    plant.advance(3000)
    assert plant.current_a() == [0.0] * 5
    assert max(map(abs, plant.velocity_rad_s())) < 0.2
    assert abs(plant.position_rad()[LIFT] + 0.3) > 0.3


def test_with_torque_it_stands_and_sags_by_its_spring() -> None:
    """The shoulder carries the outstretched arm: a few hundredths of a radian."""
    plant = build(backlash_rad=0.0)
    hold(plant, 0.0, 0.6, -0.6, 0.0, 0.0)
    plant.advance(2500)
    assert max(map(abs, plant.velocity_rad_s())) < 0.01
    sag = plant.position_rad()[LIFT] - 0.6
    assert 0.005 < sag < 0.05


def test_a_payload_makes_it_sag_more() -> None:
    def sag(payload_kg: float) -> float:
        plant = build(payload_kg=payload_kg)
        hold(plant, 0.0, 0.6, -0.6, 0.0, 0.0)
        plant.advance(2500)
        return plant.position_rad()[LIFT] - 0.6

    empty, loaded = sag(0.0), sag(0.25)
    assert loaded > empty + 0.01


def test_a_goal_far_away_is_led_to_at_the_servos_speed() -> None:
    """3400 steps/s at most, and less if the register says so."""
    for asked, expected in ((0.0, 5.2), (1.0, 1.0)):
        plant = build(motor_friction_nm=0.0, motor_damping_nm_s=0.0, supply_v=12.0)
        hold(plant, *plant.position_rad())
        plant.advance(200)
        start = plant.position_rad()[PAN]
        hold(plant, 1.5, *plant.position_rad()[1:], fastest_rad_s=asked)
        plant.advance(200)
        assert (plant.position_rad()[PAN] - start) / 0.2 == pytest.approx(expected, rel=0.35)


def test_the_torque_limit_is_what_holds_a_blocked_joint() -> None:
    """Against its stop: kt V/R times the limit. Source: bam, feetech_sts3215_7_4V/m1."""
    plant = build()
    hold(plant, 3.0, -0.3, 0.2, 0.4, 0.0, duty_max=0.5)
    plant.advance(3000)
    stalled_nm = NOMINAL.motor_torque_constant_nm_a * plant.current_a()[PAN]
    full_nm = NOMINAL.motor_torque_constant_nm_a * NOMINAL.supply_v / NOMINAL.motor_resistance_ohm
    assert full_nm == pytest.approx(SPEC.action.stall_nm, rel=0.01)
    assert stalled_nm == pytest.approx(0.5 * full_nm, rel=0.02)


def test_the_stiffness_of_the_robot_file_is_that_of_the_simulated_loop() -> None:
    body = NOMINAL
    stiffness = body.motor_torque_constant_nm_a * body.supply_v * body.servo_gain_1_rad
    stiffness /= body.motor_resistance_ohm
    assert stiffness == pytest.approx(SPEC.action.stiffness_nm_rad, rel=0.01)


def crossing(backlash_rad: float) -> float:
    """How far a push moves the link, one way and the other, that the gear's friction resists."""
    body = msgspec.structs.replace(NOMINAL, backlash_rad=backlash_rad)
    model = compile_model(SPEC, body, ARM.parent)
    model.opt.gravity[:] = 0.0
    plant = Plant(SPEC, body, model, seed=0)
    reached = []
    for push_nm in (0.02, -0.02):
        plant._data.xfrc_applied[model.body("turret").id, 5] = push_nm
        plant.advance(500)
        reached.append(plant.position_rad()[PAN])
    return reached[0] - reached[1]


def test_play_lets_the_link_move_although_its_motor_stands() -> None:
    assert crossing(0.0) == pytest.approx(0.0, abs=0.004)
    assert crossing(0.05) == pytest.approx(0.05, abs=0.005)


def test_a_servo_that_gets_its_torque_back_starts_from_where_it_is() -> None:
    """The lead of the goal is not remembered over a time without torque."""
    plant = build()
    hold(plant, 1.0, -0.3, 0.2, 0.4, 0.0)
    plant.advance(1000)
    hold(plant, 1.0, -0.3, 0.2, 0.4, 0.0, duty_max=0.0)
    plant.advance(10)
    here = plant.position_rad()
    hold(plant, *here)
    before = plant.position_rad()[PAN]
    plant.advance(100)
    assert plant.position_rad()[PAN] == pytest.approx(before, abs=0.05)


def test_equal_seeds_give_equal_motion() -> None:
    def path(seed: int) -> list[float]:
        plant, seen = build(seed), []
        for tick in range(20):
            hold(plant, *(np.sin(0.2 * tick + np.arange(5)) * 0.5))
            plant.advance(20)
            seen += plant.position_rad()
        return seen

    first, second, other = path(1), path(1), path(2)
    assert first == second
    assert first != other
    assert any(a != b for a, b in pairwise(first))


def test_a_payload_needs_a_tip_to_hang_at(tmp_path) -> None:
    text = (ARM.parent / "arm5.xml").read_text().replace('site name="tip"', 'site name="end"')
    (tmp_path / "arm5.xml").write_text(text)
    compile_model(SPEC, NOMINAL, tmp_path)
    with pytest.raises(ConfigError, match="no site 'tip'"):
        compile_model(SPEC, SPEC.body("payload"), tmp_path)
