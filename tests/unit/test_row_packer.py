"""Is a packed row the row that numpy would have made, field by field?"""

from __future__ import annotations

import numpy as np
import pytest

from onboard.recorder import flight_dtype
from onboard.row_packer import RowPacker
from protocol.robot_spec import RobotSpec
from protocol.step_record import dtype_of

ALL = np.dtype(
    [
        ("small", "u1"),
        ("obs", "<f4", (3,)),
        ("yes", "?"),
        ("count", "<i2", (2,)),
        ("big", "<u8"),
        ("signed", "<i8"),
        ("mid", "<u4"),
        ("counts", "<i4", (1,)),
        ("real", "<f4"),
        ("last", "<f4", (1,)),
    ]
)


def test_every_kind_of_field_lands_in_its_place() -> None:
    packer = RowPacker(ALL, ("obs", "last"))
    numbers = (200, True, -3, 4, 2**64 - 1, -(2**63), 2**32 - 1, -7, 0.1)
    for obs in ([1.0, 2.0, 3.0], [-1.0, np.nan, np.inf]):
        arrays = (np.array(obs, np.float32), np.float32([9.0]))
        packer.pack(numbers, arrays)
        (row,) = np.frombuffer(packer.data, ALL)
        wanted = np.array(
            (200, obs, True, (-3, 4), 2**64 - 1, -(2**63), 2**32 - 1, (-7,), 0.1, (9.0,)), ALL
        )
        for name in ALL.names or ():
            np.testing.assert_array_equal(row[name], wanted[name], err_msg=name)


def test_arrays_may_be_named_in_any_order() -> None:
    packer = RowPacker(ALL, ("last", "obs"))
    packer.pack([0] * 9, (np.float32([5.0]), np.float32([1.0, 2.0, 3.0])))
    (row,) = np.frombuffer(packer.data, ALL)
    assert (row["last"].tolist(), row["obs"].tolist()) == ([5.0], [1.0, 2.0, 3.0])


def test_an_array_that_is_missing_is_no_row() -> None:
    with pytest.raises(ValueError, match="zip"):
        RowPacker(ALL, ("obs", "last")).pack([0] * 9, (np.zeros(3, np.float32),))


def test_a_flight_begins_as_a_step_record_does(furuta: RobotSpec) -> None:
    """The recorder copies the one from the other."""
    record, flight = dtype_of(furuta), flight_dtype(furuta)
    names = [name for name in record.names or () if name != "seq"]
    assert (flight.names or ())[: len(names)] == tuple(names)
    number_bytes = record["seq"].itemsize
    for name in names:
        (kind, at), (flown_kind, flown_at) = record.fields[name][:2], flight.fields[name][:2]
        assert (flown_kind, flown_at) == (kind, at - number_bytes)
