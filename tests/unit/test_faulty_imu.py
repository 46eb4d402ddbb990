"""What an IMU shows when something is wrong with it, and that the bus shows just that."""

from __future__ import annotations

import math

import numpy as np
import pytest
from made_quadruped import QUADRUPED, load_quadruped

from protocol import dynamixel as dxl
from protocol import imu_node
from sim_harness.hil.faults import Dead, Frozen, ImuBlank, ImuGarbage, ImuLag, ImuTilt
from sim_harness.hil.faulty_imu import FaultyImu
from sim_harness.hil.stage import Stage
from sim_harness.wire_end import Attitude

MS = 1_000_000
LEVEL = (0.0, 0.0, -1.0)


def turning(rate_rad_s: float) -> Attitude:
    return Attitude(LEVEL, (rate_rad_s, 0.0, 0.0), 12.0, 30.0)


@pytest.fixture
def imu() -> FaultyImu:
    return FaultyImu(np.random.default_rng(0))


def test_without_a_fault_nothing_changes(imu: FaultyImu) -> None:
    assert imu.feel(turning(0.3), 0, []) == turning(0.3)


def test_a_frozen_one_repeats_what_it_felt_until_it_thaws(imu: FaultyImu) -> None:
    fault = Frozen(at_s=0.0, node="imu")
    imu.feel(turning(0.1), 0, [])
    assert [imu.feel(turning(rate), 0, [fault]) for rate in (0.2, 0.3)] == [turning(0.1)] * 2
    assert imu.feel(turning(0.4), 0, []) == turning(0.4)


def test_a_late_one_shows_the_past(imu: FaultyImu) -> None:
    fault = ImuLag(at_s=0.0, delay_s=0.1)
    shown = [imu.feel(turning(0.01 * tick), 20 * tick * MS, [fault]) for tick in range(10)]
    assert shown == [turning(0.01 * max(tick - 5, 0)) for tick in range(10)]


def test_a_tilted_one_finds_gravity_elsewhere_and_as_long(imu: FaultyImu) -> None:
    shown = imu.feel(turning(0.0), 0, [ImuTilt(at_s=0.0, offset_rad=math.pi / 2)])
    np.testing.assert_allclose(shown.gravity, (0.0, -1.0, 0.0), atol=1e-12)


def test_a_blank_one_shows_zeros(imu: FaultyImu) -> None:
    shown = imu.feel(turning(0.5), 0, [ImuBlank(at_s=0.0)])
    assert (shown.gravity, shown.turn_rate_rad_s) == ((0.0,) * 3, (0.0,) * 3)


def test_garbage_is_never_twice_the_same_and_fits_the_registers(imu: FaultyImu) -> None:
    shown = [imu.feel(turning(0.5), 0, [ImuGarbage(at_s=0.0)]) for _ in range(50)]
    assert len({each.gravity for each in shown}) == 50
    assert np.abs([each.gravity for each in shown]).max() < 2.0


@pytest.mark.parametrize("power", [True, False])
def test_the_bus_shows_what_the_faulty_imu_feels(power: bool) -> None:
    spec = load_quadruped()
    stage = Stage(spec, QUADRUPED.parent, "nominal", 0)
    stage.turn(True, ImuBlank(at_s=0.0) if power else Dead(at_s=0.0, node="imu"))
    register = imu_node.GRAVITY_X
    stage.advance(MS)
    replies = stage.receive(dxl.make_read(13, register.address, 12), stage.time_ns)
    parser = dxl.Parser()
    answers = [dxl.parse_status(frame) for each in replies for frame in parser.feed(each.data)]
    assert [answer.params for answer in answers] == ([bytes(12)] if power else [])
