"""Are the last ticks there, whole and in order, whoever reads them and whenever?"""

from __future__ import annotations

import threading
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from onboard.flight_ring import FlightRing, read_flight
from protocol.errors import StoreError

DTYPE = np.dtype([("tick", "<u8"), ("obs", "<f4", (64,)), ("last", "<u8")])
CAPACITY = 32


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "flight"


def write(ring: FlightRing, first: int, count: int) -> None:
    for tick in range(first, first + count):
        row = np.array([(tick, np.full(64, tick), tick)], DTYPE)
        ring.write(row.view(np.uint8).data)


@pytest.mark.parametrize("count", [0, 1, CAPACITY - 1, CAPACITY, CAPACITY + 1, 5 * CAPACITY + 7])
def test_the_last_rows_come_back_oldest_first(path: Path, count: int) -> None:
    """One less than the capacity: the oldest slot may be half overwritten."""
    with closing(FlightRing(path, DTYPE, CAPACITY, 3).open()) as ring:
        write(ring, 0, count)
        flight = read_flight(path, DTYPE)
    assert flight is not None
    assert flight.rows["tick"].tolist() == [*range(count)][-(CAPACITY - 1) :]
    assert (flight.rows["obs"][:, 63] == flight.rows["tick"]).all()
    assert (flight.life, flight.ended) == (3, False)


def test_a_good_end_is_told_from_a_kill(path: Path) -> None:
    ring = FlightRing(path, DTYPE, CAPACITY, 1).open()
    write(ring, 0, 3)
    killed = read_flight(path, DTYPE)
    ring.close()
    ended = read_flight(path, DTYPE)
    assert killed is not None
    assert ended is not None
    assert (killed.ended, ended.ended) == (False, True)
    assert ended.rows["tick"].tolist() == [0, 1, 2]


def test_the_next_life_starts_empty(path: Path) -> None:
    with closing(FlightRing(path, DTYPE, CAPACITY, 1).open()) as ring:
        write(ring, 0, 3)
    with closing(FlightRing(path, DTYPE, CAPACITY, 2).open()):
        flight = read_flight(path, DTYPE)
    assert flight is not None
    assert (len(flight.rows), flight.life) == (0, 2)


def test_no_row_is_torn_or_out_of_order_while_it_writes(path: Path) -> None:
    with closing(FlightRing(path, DTYPE, CAPACITY, 1).open()) as ring:
        writing = threading.Thread(target=write, args=(ring, 0, 20_000))
        writing.start()
        reads = 0
        while writing.is_alive() or reads < 5:
            flight = read_flight(path, DTYPE)
            assert flight is not None
            ticks = flight.rows["tick"].astype(int)
            assert (np.diff(ticks) == 1).all()
            assert (flight.rows["last"] == flight.rows["tick"]).all()
            assert (flight.rows["obs"] == ticks[:, None].astype(np.float32)).all()
            reads += 1
        writing.join()


def test_what_is_no_flight_of_this_robot_is_refused(path: Path) -> None:
    assert read_flight(path, DTYPE) is None
    with closing(FlightRing(path, DTYPE, CAPACITY, 1).open()):
        other = np.dtype([("tick", "<u8"), ("obs", "<f4", (63,)), ("last", "<u8")])
        with pytest.raises(StoreError, match="not a flight recorder of this robot"):
            read_flight(path, other)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(StoreError, match="not a flight recorder"):
        read_flight(path, DTYPE)
    path.write_bytes(b"short")
    with pytest.raises(StoreError, match="not a flight recorder"):
        read_flight(path, DTYPE)


def test_a_place_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot map the flight recorder"):
        FlightRing(tmp_path / "missing" / "flight", DTYPE, CAPACITY, 1).open()
