"""Does the server's operator stop the robot that was meant, until it is taken back?"""

from __future__ import annotations

from pathlib import Path

import pytest

from offboard.stop_list import STOPS_FILE, StopList, release_robot, stop_robot
from protocol.errors import ConfigError


def seen(stops: StopList, robot: str) -> str:
    stops.refresh()
    return stops.reason_for(robot)


def test_a_stop_holds_for_one_robot_until_it_is_released(tmp_path: Path) -> None:
    stops = StopList(tmp_path / STOPS_FILE)
    assert seen(stops, "rig-1") == ""
    stop_robot(tmp_path, "rig-1", "someone is in the cell")
    stop_robot(tmp_path, "rig-2", "smoke")
    assert seen(stops, "rig-1") == "someone is in the cell"
    assert seen(stops, "rig-3") == ""
    release_robot(tmp_path, "rig-1")
    assert seen(stops, "rig-1") == ""
    assert seen(stops, "rig-2") == "smoke"


def test_a_damaged_list_takes_no_stop_back(tmp_path: Path) -> None:
    stops = StopList(tmp_path / STOPS_FILE)
    stop_robot(tmp_path, "rig-1", "smoke")
    assert seen(stops, "rig-1") == "smoke"
    (tmp_path / STOPS_FILE).write_bytes(b"{")
    assert seen(stops, "rig-1") == "smoke"
    with pytest.raises(ConfigError, match="cannot be read"):
        stop_robot(tmp_path, "rig-2", "smoke")


def test_a_removed_list_stops_nobody(tmp_path: Path) -> None:
    stops = StopList(tmp_path / STOPS_FILE)
    stop_robot(tmp_path, "rig-1", "smoke")
    assert seen(stops, "rig-1") == "smoke"
    (tmp_path / STOPS_FILE).unlink()
    assert seen(stops, "rig-1") == ""


def test_only_what_can_be_a_robot_is_stopped_and_only_what_is_stopped_is_released(
    tmp_path: Path,
) -> None:
    with pytest.raises(ConfigError, match="must be lower case"):
        stop_robot(tmp_path, "../Rig", "smoke")
    with pytest.raises(ConfigError, match=r"rig-9 is not stopped by the server; stopped are \[\]"):
        release_robot(tmp_path, "rig-9")


def test_without_a_list_nobody_is_stopped() -> None:
    assert seen(StopList(), "rig-1") == ""
