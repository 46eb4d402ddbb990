"""Is torque that is written once the torque that every step would have written?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.robot_spec import load_robot_spec
from sim_harness import current_drive
from sim_harness.current_drive import NEVER
from sim_harness.motor import motor_of, torque_nm, unlimited_rad_s
from sim_harness.plant import Plant, load_plant
from sim_harness.wire_end import Brake

ROBOT = Path(__file__).parents[2] / "hw_configs" / "furuta.toml"
MOTOR = motor_of(load_robot_spec(ROBOT).body("nominal"))


RNG = np.random.default_rng(0)
ASKED = [
    (0.0, Brake(0.05, 0.4)) if turn % 7 == 0 else (min(abs(drawn), 0.7), drawn)
    for turn, drawn in enumerate(RNG.uniform(-1.2, 1.2, 400).tolist())
]
"""What is asked, and a current that a motor gives if nothing limits it."""


def course(plant: Plant) -> list[list[float]]:
    """Every tenth step of a rough ride: full currents, brakes, a supply that fails and recovers."""
    seen = []
    for turn, (_, demand) in enumerate(ASKED):
        plant.command([demand])
        if turn % 50 == 0:
            plant.feed(0.02 * turn if turn % 100 else None)
        plant.advance(10)
        seen.append([*plant.qpos.tolist(), *plant.velocity_rad_s(), *plant.current_a()])
    return seen


@pytest.mark.parametrize("body", ["nominal", "target"])
def test_a_rough_ride_is_the_same_to_the_last_bit(
    body: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sparing = course(load_plant(ROBOT, body, 0))
    monkeypatch.setattr(current_drive, "unlimited_rad_s", lambda motor, current_a: NEVER)
    assert course(load_plant(ROBOT, body, 0)) == sparing
    short = [row for row, (asked, _) in zip(sparing, ASKED, strict=True) if abs(row[-1]) < asked]
    assert 20 < len(short) < 380, "the supply limited some and not all"


def test_the_force_is_written_again_after_a_reset() -> None:
    rides = []
    plant = load_plant(ROBOT, "nominal", 0)
    for _ in range(2):
        plant.reset(seed=5)
        plant.command([0.3])
        plant.advance(50)
        rides.append(plant.qpos.tolist())
    assert rides[0] == rides[1]


@given(st.floats(-2.0, 2.0), st.floats(-60.0, 60.0), st.floats(0.0, 12.0))
def test_between_its_ends_nothing_is_limited_and_beyond_them_something_is(
    current_a: float, speed: float, supply_v: float
) -> None:
    motor = MOTOR._replace(supply_v=supply_v)
    low, high = unlimited_rad_s(motor, current_a)
    regulated = min(max(current_a, -motor.current_max_a), motor.current_max_a)
    plain = motor.torque_constant_nm_a * regulated
    if low < speed < high:
        assert torque_nm(motor, current_a, speed) == plain
    elif speed < low - 1e-6 * (1 + abs(low)) or speed > high + 1e-6 * (1 + abs(high)):
        assert torque_nm(motor, current_a, speed) != plain
