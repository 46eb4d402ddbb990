"""Is the observation laid out as the robot file says, from measured times and sent actions?"""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_records import SPEC

from protocol.errors import ConfigError
from protocol.observation import Layout, Observer, wrap
from protocol.robot_spec import Term

LAYOUT = Layout(SPEC)
HANGING = [0.0, -math.pi]


def observed(observer: Observer, position_rad: list[float], time_s: float, label: str) -> float:
    return float(LAYOUT.read(observer.observe(position_rad, time_s), label))


def test_columns_are_labelled_in_the_order_of_the_file() -> None:
    assert LAYOUT.labels == [
        "position:arm",
        "cos:pendulum",
        "sin:pendulum",
        "velocity:arm",
        "velocity:pendulum",
        "applied:arm:1",
        "applied:arm:2",
    ]
    assert (LAYOUT.size, LAYOUT.action_size) == (7, 1)


def test_every_column_is_its_value_times_its_scale() -> None:
    observer = Observer(SPEC)
    observer.observe([0.5, 1.0], 10.0)
    observer.applied(np.array([0.25], dtype=np.float32))
    observer.applied(np.array([-0.75], dtype=np.float32))
    vector = observer.observe([0.6, 1.3], 10.02)
    wanted = [0.3, math.cos(1.3), math.sin(1.3), 0.1 * 5.0, 15.0 / 15.0, -0.75, 0.25]
    np.testing.assert_allclose(vector, wanted, rtol=1e-6)
    assert vector.dtype == np.float32


def test_reading_a_term_undoes_its_scale() -> None:
    obs = np.arange(14, dtype=np.float64).reshape(2, 7)
    np.testing.assert_allclose(LAYOUT.read(obs, "velocity:pendulum"), [60.0, 165.0])


def test_an_unknown_term_is_answered_with_those_that_exist() -> None:
    with pytest.raises(ConfigError, match="cos:pendulum"):
        LAYOUT.column("cos:elbow")


def test_a_term_said_twice_is_refused() -> None:
    twice = [*SPEC.observation, Term(kind="cos", joint="pendulum", scale=2.0)]
    with pytest.raises(ConfigError, match="repeats"):
        Layout(msgspec.structs.replace(SPEC, observation=twice))


def test_velocity_is_a_difference_over_the_time_that_really_passed() -> None:
    observer = Observer(SPEC)
    observer.observe(HANGING, 5.0)
    assert observed(observer, [0.1, -math.pi], 5.025, "velocity:arm") == pytest.approx(4.0)
    assert observed(observer, [0.1, -math.pi], 5.045, "velocity:arm") == 0.0


@pytest.mark.parametrize("direction", [1, -1])
def test_velocity_does_not_jump_where_the_angle_wraps(direction: int) -> None:
    observer = Observer(SPEC)
    observer.observe([0.0, direction * (math.pi - 0.05)], 0.0)
    speed = observed(observer, [0.0, -direction * (math.pi - 0.05)], 0.02, "velocity:pendulum")
    assert speed == pytest.approx(direction * 5.0)


def test_there_is_no_velocity_at_the_first_reading() -> None:
    assert observed(Observer(SPEC), [1.0, 1.0], 0.02, "velocity:arm") == 0.0


def test_a_clock_that_stands_still_gives_no_infinite_velocity() -> None:
    observer = Observer(SPEC)
    observer.observe(HANGING, 1.0)
    assert observed(observer, [0.1, 0.0], 1.0, "velocity:arm") == 0.0


def test_reset_forgets_motion_and_actions() -> None:
    observer = Observer(SPEC)
    observer.observe([2.0, 0.0], 1.0)
    observer.applied(np.ones(1, dtype=np.float32))
    observer.reset()
    vector = observer.observe([-2.0, 0.0], 1.02)
    assert vector[3:].tolist() == [0.0] * 4


@given(st.floats(-1e3, 1e3))
def test_wrapping_keeps_the_angle_and_bounds_it(angle_rad: float) -> None:
    wrapped = wrap(angle_rad)
    assert -math.pi <= wrapped <= math.pi
    assert math.cos(wrapped) == pytest.approx(math.cos(angle_rad), abs=1e-9)
    assert math.sin(wrapped) == pytest.approx(math.sin(angle_rad), abs=1e-9)
