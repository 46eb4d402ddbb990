from pathlib import Path

import pytest

from protocol.robot_spec import load_robot_spec
from sim_harness.motor import motor_of, torque_nm

ROBOT = Path(__file__).parents[2] / "hw_configs" / "furuta.toml"


@pytest.fixture(scope="module")
def body():
    return load_robot_spec(ROBOT).body("nominal")


def test_torque_is_proportional_to_current_when_the_supply_allows_it(body):
    assert torque_nm(motor_of(body), 0.5, 0.0) == pytest.approx(0.5 * 0.370)


def test_current_is_limited_to_the_motor_maximum(body):
    assert torque_nm(motor_of(body), 99.0, 0.0) == pytest.approx(0.8 * 0.370)


def test_stall_torque_agrees_with_the_data_sheet(body):
    unlimited = motor_of(body)._replace(current_max_a=99.0)
    assert torque_nm(unlimited, 99.0, 0.0) == pytest.approx(0.52, rel=0.03)


def test_no_load_speed_agrees_with_the_data_sheet(body):
    """103 rpm at 5 V: there the whole torque is spent on friction."""
    motor = motor_of(body)
    balance = [
        speed / 100
        for speed in range(2000)
        if torque_nm(motor, 0.8, speed / 100)
        > body.motor_friction_nm + body.motor_damping_nm_s * speed / 100
    ]
    assert balance[-1] == pytest.approx(10.8, rel=0.06)


def test_back_emf_brakes_a_motor_turned_faster_than_the_supply_drives_it(body):
    motor = motor_of(body)
    fast = 1.2 * motor.supply_v / motor.torque_constant_nm_a
    assert torque_nm(motor, 0.8, fast) < 0.0
    assert torque_nm(motor, -0.8, -fast) > 0.0


def test_torque_is_odd_in_current_and_speed(body):
    motor = motor_of(body)
    assert torque_nm(motor, 0.3, 9.0) == pytest.approx(-torque_nm(motor, -0.3, -9.0))
