"""Does a log get into the robot's columns, or is the column that cannot be right named?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_data import LAYOUT, made_log
from made_records import SPEC

from offboard.data.alignment import aligned
from offboard.data.trajectory import Log
from protocol.errors import StoreError

COS = LAYOUT.column("cos:pendulum")


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return made_log(tmp_path)


def changed(log: Log, field: str, column: int, value: float) -> Log:
    """One number of the second episode is ``value``."""
    first, second, *others = log.trajectories
    values = getattr(second, field).copy()
    values[4, column] = value
    parts = (first, replace(second, **{field: values}), *others)
    return replace(log, trajectories=parts)


def permuted(log: Log, order: list[int]) -> Log:
    parts = tuple(replace(part, obs=part.obs[:, order]) for part in log.trajectories)
    return replace(log, trajectories=parts, columns=tuple(log.columns[place] for place in order))


def test_a_log_of_the_same_robot_is_left_as_it_is(log):
    for part, same in zip(log.trajectories, aligned(log, SPEC).trajectories, strict=True):
        np.testing.assert_array_equal(part.obs, same.obs)
        np.testing.assert_array_equal(part.applied, same.applied)


def test_columns_are_found_by_name(log):
    mixed = permuted(log, [3, 1, 6, 0, 2, 5, 4])
    for part, sorted_again in zip(log.trajectories, aligned(mixed, SPEC).trajectories, strict=True):
        np.testing.assert_array_equal(part.obs, sorted_again.obs)


def test_names_can_be_given_from_outside(log):
    nameless = replace(permuted(log, [3, 1, 6, 0, 2, 5, 4]), columns=(), actions=())
    names = tuple(log.columns[place] for place in [3, 1, 6, 0, 2, 5, 4])
    again = aligned(nameless, SPEC, names, ("arm",))
    np.testing.assert_array_equal(again.trajectories[0].obs, log.trajectories[0].obs)


def test_columns_without_names_are_not_guessed(log):
    with pytest.raises(StoreError, match="--columns, of position:arm cos:pendulum"):
        aligned(replace(log, columns=()), SPEC)
    with pytest.raises(StoreError, match="--actions, of arm"):
        aligned(replace(log, actions=()), SPEC)


def test_the_number_of_names_must_fit(log):
    with pytest.raises(StoreError, match="has 7 observation columns, 1 were named"):
        aligned(log, SPEC, ("position:arm",))


def test_a_missing_column_is_named(log):
    other = replace(log, columns=("speed", *log.columns[1:]))
    with pytest.raises(StoreError, match="lacks observation column 'position:arm'"):
        aligned(other, SPEC)


def test_action_history_is_derived_where_it_is_missing(log):
    held = [place for place, name in enumerate(log.columns) if not name.startswith("applied")]
    part = aligned(permuted(log, held), SPEC).trajectories[0]
    newest, older = LAYOUT.column("applied:arm:1"), LAYOUT.column("applied:arm:2")
    np.testing.assert_array_equal(part.obs[1:, newest], part.applied[:, 0])
    np.testing.assert_array_equal(part.obs[2:, older], part.applied[:-1, 0])
    assert part.obs[0, newest] == part.obs[0, older] == part.obs[1, older] == 0.0


def test_a_number_that_is_not_finite_is_found(log):
    with pytest.raises(StoreError, match=r"episode 1: observation column 'velocity:arm' .* step 4"):
        aligned(changed(log, "obs", LAYOUT.column("velocity:arm"), np.inf), SPEC)
    with pytest.raises(StoreError, match="action 'arm' is not finite"):
        aligned(changed(log, "applied", 0, np.nan), SPEC)


def test_an_action_in_another_unit_is_found(log):
    with pytest.raises(StoreError, match=r"action 'arm' reaches 1\.7"):
        aligned(changed(log, "applied", 0, -1.7), SPEC)


def test_an_angle_in_the_place_of_its_cosine_is_found(log):
    with pytest.raises(StoreError, match="'cos:pendulum' and 'sin:pendulum' do not lie"):
        aligned(changed(log, "obs", COS, 2.5), SPEC)


def test_another_rate_is_refused_by_measured_times(log):
    slow = tuple(replace(part, sense_ns=2 * part.sense_ns) for part in log.trajectories)
    with pytest.raises(StoreError, match=r"recorded at 2\d\.?\d* Hz .* runs at 50 Hz"):
        aligned(replace(log, trajectories=slow), SPEC)


def test_without_times_the_nominal_rate_counts(log):
    timeless = tuple(replace(part, sense_ns=np.empty(0)) for part in log.trajectories)
    aligned(replace(log, trajectories=timeless, control_hz=0.0), SPEC)
    with pytest.raises(StoreError, match="recorded at 30 Hz"):
        aligned(replace(log, trajectories=timeless, control_hz=30.0), SPEC)
