"""Is a flight kept once, when it matters, and without ever filling the disk?"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from made_loop import Bench

from onboard import flight_recorder
from onboard.control_api import Clear, Estop, Start
from onboard.flight_file import read_recording
from onboard.flight_recorder import (
    KEPT_FILES,
    LEAST_FREE_BYTES,
    Cause,
    Dumper,
    FlightRecorder,
    Shelf,
    flight_capacity,
)
from onboard.flight_ring import FlightRing
from onboard.recorder import flight_dtype
from protocol.errors import StoreError
from protocol.modes import Mode
from protocol.robot_spec import RobotSpec

Make = Callable[..., Path]


@pytest.fixture
def bench(furuta: RobotSpec, rig_port: Any, tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(furuta, rig_port, tmp_path)
    bench.boot()
    yield bench
    bench.close()


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def recorder(bench: Bench, furuta: RobotSpec, tmp_path: Path, said: list[str]) -> FlightRecorder:
    dumper = Dumper(furuta, "swing_up", tmp_path / "flight", Shelf(tmp_path / "flights"))
    return FlightRecorder(dumper, bench.control.life.changes, said.append)


def files(folder: Path) -> list[Path]:
    return sorted((folder / "flights").glob("*"))


def test_thirty_seconds_fit(furuta: RobotSpec) -> None:
    assert flight_capacity(furuta) == 30 * 50 + 1


def test_an_emergency_stop_is_kept_once(
    bench: Bench, recorder: FlightRecorder, make_bundle: Make, tmp_path: Path, said: list[str]
) -> None:
    bench.load(make_bundle(1), 1)
    bench.obey(Start())
    bench.until(Mode.RUN)
    bench.run(20)
    recorder.step()
    assert files(tmp_path) == []
    bench.obey(Estop())
    bench.run(5)
    recorder.step()
    recorder.step()
    (path,) = files(tmp_path)
    assert path.name == f"000001-{bench.control.counters.ticks:010d}-estop.mcap"
    assert said == [f"flight recorder: {path}"]
    recording = read_recording(path)
    assert recording.facts["cause"] == "estop"
    assert recording.facts["task"] == "swing_up"
    modes = [Mode(mode) for mode in recording.rows["mode"]]
    assert modes[-7:] == [Mode.RUN] + 6 * [Mode.ESTOP]
    bench.obey(Clear())
    bench.until(Mode.IDLE)
    bench.obey(Estop())
    recorder.step()
    assert len(files(tmp_path)) == 2


def test_a_fault_that_becomes_an_emergency_stop_is_one_flight(
    bench: Bench, recorder: FlightRecorder, tmp_path: Path
) -> None:
    bench.port.dead = True
    bench.until(Mode.FAULT)
    bench.obey(Estop())
    recorder.step()
    (path,) = files(tmp_path)
    assert path.name.endswith("-fault.mcap")
    assert "ticks without bus" in read_recording(path).facts["reason"]


def test_the_thread_keeps_what_latched_until_the_very_end(
    bench: Bench, recorder: FlightRecorder, tmp_path: Path
) -> None:
    prepared: list[bool] = []
    recorder.open(lambda: prepared.append(True))
    bench.obey(Estop())
    recorder.close()
    assert prepared == [True]
    assert len(files(tmp_path)) == 1


def test_a_killed_control_is_salvaged_and_a_good_end_is_not(
    bench: Bench, furuta: RobotSpec, recorder: FlightRecorder, tmp_path: Path
) -> None:
    bench.run(10)
    recorder.salvage()
    (path,) = files(tmp_path)
    assert path.name.endswith("-killed.mcap")
    assert len(read_recording(path).rows) >= 10
    bench.flight.close()
    recorder.salvage()
    assert files(tmp_path) == [path]


def test_nothing_recorded_leaves_no_file(
    furuta: RobotSpec, tmp_path: Path, said: list[str]
) -> None:
    memory = tmp_path / "memory"
    dumper = Dumper(furuta, "swing_up", memory, Shelf(tmp_path / "flights"))
    assert dumper.dump(Cause("demand", "")) is None
    with closing(FlightRing(memory, flight_dtype(furuta), 8, 1).open()):
        assert dumper.dump(Cause("demand", "")) is None
        FlightRecorder(dumper, deque(), said.append).salvage()
    assert files(tmp_path) == []
    assert said == []


def test_a_memory_of_another_robot_is_reported_and_left(
    furuta: RobotSpec, tmp_path: Path, said: list[str]
) -> None:
    (tmp_path / "flight").write_bytes(bytes(8192))
    dumper = Dumper(furuta, "swing_up", tmp_path / "flight", Shelf(tmp_path / "flights"))
    FlightRecorder(dumper, deque(), said.append).salvage()
    assert "not a flight recorder of this robot" in said[0]


def test_the_shelf_holds_the_newest_few(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    for number in range(KEPT_FILES + 3):
        shelf.put(f"{number:06d}.mcap", b"x")
    kept = [path.name for path in sorted(tmp_path.iterdir())]
    assert kept == [f"{number:06d}.mcap" for number in range(3, KEPT_FILES + 3)]


@pytest.mark.parametrize(("free", "kept"), [(LEAST_FREE_BYTES + 1, 1), (LEAST_FREE_BYTES, 0)])
def test_a_nearly_full_disk_gets_no_flight(tmp_path: Path, free: int, kept: int) -> None:
    shelf = Shelf(tmp_path / "flights", free_bytes=lambda at: free)
    if not kept:
        with pytest.raises(StoreError, match="64 MiB are free; make room"):
            shelf.put("a.mcap", b"x")
    else:
        shelf.put("a.mcap", b"x")
    assert len(files(tmp_path)) == kept


def test_a_full_disk_is_said_and_nothing_more(
    bench: Bench, recorder: FlightRecorder, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> None:
        raise StoreError(f"{path}: no space left on device")

    monkeypatch.setattr(flight_recorder, "write_bytes", full)
    bench.obey(Estop())
    recorder.step()
    assert len(said) == 1
    assert "no space left on device" in said[0]
    assert bench.mode is Mode.ESTOP
