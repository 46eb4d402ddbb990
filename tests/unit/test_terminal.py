"""The harness's end of a real serial line, with a pseudo terminal in its place."""

from __future__ import annotations

import os
import pty
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from protocol.errors import ConfigError
from sim_harness.terminal import SerialDevice


@pytest.fixture
def cable() -> Iterator[tuple[int, Path]]:
    far, near = pty.openpty()
    yield far, Path(os.ttyname(near))
    os.close(near)
    os.close(far)


def test_a_device_is_opened_raw_at_its_speed_and_never_blocks(cable):
    far, path = cable
    device = SerialDevice(path, 1_000_000)
    line, name = device.open()
    settings = termios.tcgetattr(line)
    assert (settings[4], settings[5], name) == (termios.B1000000, termios.B1000000, str(path))
    assert not settings[3] & (termios.ECHO | termios.ICANON)
    with pytest.raises(BlockingIOError):
        os.read(line, 1)
    os.write(far, b"\r\x03")
    assert os.read(line, 8) == b"\r\x03"
    device.close()


def test_a_closed_device_can_be_opened_again(cable):
    device = SerialDevice(cable[1], 1_000_000)
    device.close()
    for _ in range(2):
        assert os.isatty(device.open().descriptor)
        device.close()


@pytest.mark.parametrize(("name", "baud"), [("missing", 1_000_000), ("file", 57_600), ("any", 7)])
def test_what_cannot_be_such_a_line_is_named(name, baud, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=name):
        SerialDevice(tmp_path / name, baud).open()
