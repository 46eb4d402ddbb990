"""The C side of the microcontroller link: compiled, as a library to call and as a board to talk to.

What is compiled is the C that we ship, with every warning an error.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from protocol.robot_spec import RobotSpec, load_robot_spec

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "protocol" / "mcu"
STRICT = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-Wconversion", "-O2")
FRAME_MAX = 256
NODE_BYTES = 4096
"""Far more than a node takes."""


class Sample(NamedTuple):
    """What one channel's sensors see, as ``struct wombet_sample`` has it."""

    position_10urad: int = 0
    velocity_mrad_s: int = 0
    current_ma: int = 0
    temperature_c: int = 0
    fault: int = 0


class _Board(ctypes.Structure):
    _fields_ = [
        ("model", ctypes.c_uint16),
        ("firmware", ctypes.c_uint16),
        ("motors", ctypes.c_uint16),
        ("channels", ctypes.c_uint8),
        ("current_max_ma", ctypes.c_int16),
        ("damping_ma_s_rad", ctypes.c_uint16),
    ]


class _Sample(ctypes.Structure):
    _fields_ = [
        ("position_10urad", ctypes.c_int32),
        ("velocity_mrad_s", ctypes.c_int32),
        ("current_ma", ctypes.c_int16),
        ("temperature_c", ctypes.c_uint8),
        ("fault", ctypes.c_uint8),
    ]


class CNode:
    """A node in C with two channels, the first with a motor; like the emulated board otherwise."""

    CHANNELS = 2

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        self._board = _Board(1, 100, 1, self.CHANNELS, 3000, 100)
        self._node = ctypes.create_string_buffer(NODE_BYTES)
        self._answer = ctypes.create_string_buffer(FRAME_MAX)
        library.wombet_hear.restype = ctypes.c_size_t
        library.wombet_current_ma.restype = ctypes.c_int16
        library.wombet_crc32.restype = ctypes.c_uint32
        library.wombet_init(self._node, ctypes.byref(self._board))

    def sense(self, samples: list[Sample], supply_mv: int) -> None:
        rows = (_Sample * len(samples))(*samples)
        self._library.wombet_sense(self._node, rows, supply_mv)

    def hear(self, data: bytes, now_ms: int) -> bytes:
        said = b""
        for byte in data:
            size = self._library.wombet_hear(self._node, byte, now_ms, self._answer)
            said += self._answer.raw[:size]
        return said

    def elapse(self, now_ms: int) -> None:
        self._library.wombet_elapse(self._node, now_ms)

    def current_ma(self) -> list[int]:
        return [self._library.wombet_current_ma(self._node, n) for n in range(self.CHANNELS)]

    def crc32(self, data: bytes) -> int:
        return int(self._library.wombet_crc32(data, len(data)))


def build_library(folder: Path) -> ctypes.CDLL:
    path = folder / "libwombet_link.so"
    _compile("-ffreestanding", "-shared", "-fPIC", str(SOURCES / "wombet_link.c"), "-o", str(path))
    return ctypes.CDLL(str(path))


def build_board(folder: Path) -> Path:
    path = folder / "mcu_board"
    sources = [SOURCES / "wombet_link.c", SOURCES / "wombet_loop.c", Path(__file__).parent]
    sources[-1] /= "mcu_board.c"
    _compile(f"-I{SOURCES}", *map(str, sources), "-o", str(path))
    return path


def load_mcu_robot() -> RobotSpec:
    """The robot file we ship."""
    return load_robot_spec(ROOT / "hw_configs" / "furuta_mcu.toml")


def _compile(*arguments: str) -> None:
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler on this machine")
    done = subprocess.run(
        [compiler, *STRICT, *arguments], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
