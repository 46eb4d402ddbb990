"""A real pseudo-terminal as the line: a full one is not a lost one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from onboard.serial_port import SerialPort
from protocol.errors import BusError, LineLostError

BLOCK = bytes(1024)


@pytest.fixture
def ends() -> Iterator[tuple[int, Path]]:
    """The rig's end, and the path of ours."""
    rig, ours = os.openpty()
    yield rig, Path(os.ttyname(ours))
    os.close(ours)


def fill(port: SerialPort) -> None:
    for _ in range(10_000):
        port.write(BLOCK)


def test_one_that_takes_nothing_any_more_has_not_been_lost(ends: tuple[int, Path]) -> None:
    port = SerialPort(ends[1], 1_000_000).open()
    with pytest.raises(BusError) as full:
        fill(port)
    with pytest.raises(BusError) as again:
        port.write(BLOCK)
    assert not isinstance(full.value, LineLostError)
    assert not isinstance(again.value, LineLostError)
    port.close()
    os.close(ends[0])


def test_one_that_hung_up_is_lost_to_reader_and_writer(ends: tuple[int, Path]) -> None:
    port = SerialPort(ends[1], 1_000_000).open()
    os.close(ends[0])
    with pytest.raises(LineLostError):
        port.write(b"x")
    with pytest.raises(LineLostError):
        port.read(0.0)
    port.close()
