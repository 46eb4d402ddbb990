"""Is every change of state one line, in a file that cannot fill the disk?"""

from __future__ import annotations

import io
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from made_agent import Control

from onboard.control_api import StateChange, Status
from onboard.control_log import ControlLog
from onboard.event_log import EventLog
from onboard.log_file import LogFile
from protocol.errors import StoreError
from protocol.messages import PolicyEvent


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def test_a_log_is_bounded_and_keeps_the_newest_lines_in_order(tmp_path: Path) -> None:
    path = tmp_path / "log" / "events.jsonl"
    log = LogFile(path, max_bytes=100, kept=2).open()
    for number in range(100):
        log.write(f"line {number:03d}")
    log.close()
    files = [path.with_name(f"events.jsonl{end}") for end in (".2", ".1", "")]
    assert sorted(tmp_path.glob("log/*")) == sorted(files)
    assert all(file.stat().st_size <= 100 for file in files)
    kept = [line for file in files for line in lines(file)]
    assert kept == [f"line {number:03d}" for number in range(100 - len(kept), 100)]
    assert len(kept) > 20
    assert log.lost == 0


def test_a_log_goes_on_where_it_stopped(tmp_path: Path) -> None:
    for word in ("first", "second"):
        log = LogFile(tmp_path / "a").open()
        log.write(word)
        log.close()
    assert lines(tmp_path / "a") == ["first", "second"]


def test_lines_that_cannot_be_written_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = LogFile(tmp_path / "a").open()

    def full(handle: int, data: bytes) -> int:
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("onboard.log_file.os.write", full)
        log.write("lost")
    log.write("kept")
    log.close()
    assert log.lost == 1
    assert lines(tmp_path / "a") == ["kept"]


def test_a_log_that_cannot_be_opened_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(StoreError, match="cannot be opened"):
        LogFile(tmp_path / "a").open()


def test_events_go_to_stream_and_file_and_states_only_when_they_change(tmp_path: Path) -> None:
    stream, file = io.StringIO(), LogFile(tmp_path / "a").open()
    log = EventLog(stream, lambda: 12.3456, file)
    log.note("offered", version=3)
    for value in ("ok", "ok", "disk full", "disk full", "ok"):
        log.state("collector", value)
    file.close()
    assert stream.getvalue().splitlines() == lines(tmp_path / "a")
    found = [json.loads(line) for line in lines(tmp_path / "a")]
    assert found == [
        {"time_s": 12.346, "event": "offered", "version": 3},
        {"time_s": 12.346, "event": "collector", "state": "disk full"},
        {"time_s": 12.346, "event": "collector", "state": "ok"},
    ]


def status(tmp_path: Path, pid: int, modes: list[str], outcomes: list[str]) -> Status:
    changes = [
        StateChange(number=n, at_ns=n * 10**9, old=old, new=new, reason="why")
        for n, (old, new) in enumerate(pairwise(modes), 1)
    ]
    events = [
        PolicyEvent(number=n, version=7, outcome=outcome) for n, outcome in enumerate(outcomes, 1)
    ]
    return msgspec.structs.replace(
        Control(tmp_path)._status(), pid=pid, changes=changes, events=events
    )


def test_control_s_changes_are_noted_once_and_anew_after_a_restart(tmp_path: Path) -> None:
    stream = io.StringIO()
    log = ControlLog(EventLog(stream, lambda: 0.0))

    def noted() -> list[tuple[Any, ...]]:
        found = [json.loads(line) for line in stream.getvalue().splitlines()]
        stream.truncate(stream.seek(0))
        return [(line["event"], line.get("new") or line.get("outcome")) for line in found]

    log.heard(status(tmp_path, 1, ["BOOT", "SELFTEST", "IDLE"], []))
    assert noted() == [("control_started", None), ("mode", "SELFTEST"), ("mode", "IDLE")]
    log.heard(status(tmp_path, 1, ["BOOT", "SELFTEST", "IDLE", "HOMING"], ["activated"]))
    assert noted() == [("mode", "HOMING"), ("policy", "activated")]
    log.heard(status(tmp_path, 1, ["BOOT", "SELFTEST", "IDLE", "HOMING"], ["activated"]))
    assert noted() == []
    log.heard(status(tmp_path, 2, ["BOOT", "SELFTEST"], []))
    assert noted() == [("control_started", None), ("mode", "SELFTEST")]
