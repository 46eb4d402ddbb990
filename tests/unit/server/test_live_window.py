"""Is a robot's window kept while somebody looks, and only then?"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from made_records import GENERATION, SPEC, make_records

from offboard.live_window import (
    KEPT_S,
    LIVE,
    WATCHED_FOR_S,
    Window,
    Windows,
    read_window,
    watch,
)
from protocol.errors import ConfigError, StoreError

KEPT = round(KEPT_S * SPEC.control_hz)


def shown(run: Path, robot: str = "rig-1") -> Window:
    window = read_window(run, robot)
    assert window is not None
    return window


def numbers(window: Window) -> list[int]:
    return [int(seq) - GENERATION for seq in window.rows["seq"]]


@pytest.fixture
def windows(tmp_path: Path) -> Windows:
    windows = Windows(tmp_path, SPEC)
    watch(tmp_path, "rig-1")
    windows.refresh()
    return windows


def test_what_comes_while_somebody_looks_is_shown_with_its_units(
    windows: Windows, tmp_path: Path
) -> None:
    windows.saw("rig-1", make_records(5, 10))
    windows.refresh()
    window = shown(tmp_path)
    np.testing.assert_array_equal(window.rows, make_records(5, 10))
    assert window.columns["velocity:arm"].startswith("rad/s, times ")
    assert [*window.actions] == ["arm"]


def test_where_nobody_looks_nothing_is_written(windows: Windows, tmp_path: Path) -> None:
    windows.saw("rig-2", make_records(0, 10))
    windows.refresh()
    assert read_window(tmp_path, "rig-2") is None


def test_who_looks_away_is_forgotten(tmp_path: Path) -> None:
    now_s = [time.time()]
    windows = Windows(tmp_path, SPEC, lambda: now_s[0])
    watch(tmp_path, "rig-1")
    windows.refresh()
    windows.saw("rig-1", make_records(0, 10))
    windows.refresh()
    now_s[0] += WATCHED_FOR_S + 1.0
    windows.refresh()
    windows.saw("rig-1", make_records(10, 10))
    now_s[0] -= WATCHED_FOR_S + 1.0
    windows.refresh()
    windows.saw("rig-1", make_records(20, 10))
    windows.refresh()
    assert numbers(shown(tmp_path)) == [*range(20, 30)]


def test_the_window_slides(windows: Windows, tmp_path: Path) -> None:
    for first in range(0, KEPT + 100, 50):
        windows.saw("rig-1", make_records(first, 50))
    windows.refresh()
    assert numbers(shown(tmp_path)) == [*range(100, KEPT + 100)]


def test_a_hole_or_a_step_back_in_time_begins_a_new_window(
    windows: Windows, tmp_path: Path
) -> None:
    windows.saw("rig-1", make_records(0, 10))
    windows.saw("rig-1", make_records(20, 10))
    windows.refresh()
    assert numbers(shown(tmp_path)) == [*range(20, 30)]
    later = make_records(30, 10)
    later["sense_ns"] -= 10_000_000_000
    later["act_ns"] -= 10_000_000_000
    windows.saw("rig-1", later)
    windows.refresh()
    assert numbers(shown(tmp_path)) == [*range(30, 40)]


def test_a_disk_that_refuses_costs_the_window_only(windows: Windows, tmp_path: Path) -> None:
    windows.saw("rig-1", make_records(0, 10))
    (tmp_path / LIVE / ".rig-1.part").mkdir()
    windows.refresh()
    assert read_window(tmp_path, "rig-1") is None
    (tmp_path / LIVE / ".rig-1.part").rmdir()
    windows.refresh()
    assert shown(tmp_path).count == 10


def test_a_damaged_window_is_named(windows: Windows, tmp_path: Path) -> None:
    windows.saw("rig-1", make_records(0, 10))
    windows.refresh()
    whole = (tmp_path / LIVE / "rig-1.window").read_bytes()
    (tmp_path / LIVE / "rig-1.window").write_bytes(whole[:100])
    with pytest.raises(StoreError, match="rig-1"):
        read_window(tmp_path, "rig-1")
    torn = Window(robot="rig-1", control_hz=50, columns={}, actions={}, count=3, data=b"")
    with pytest.raises(StoreError, match="window of rig-1 is damaged"):
        _ = torn.rows


@pytest.mark.parametrize("name", ["../rig", "", "RIG", "a/b"])
def test_only_what_can_be_a_robot_is_looked_for(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        watch(tmp_path, name)
    with pytest.raises(ConfigError):
        read_window(tmp_path, name)
