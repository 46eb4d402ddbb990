"""Can another process always read what the server shows?"""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from made_messages import LATER, TO_SERVER

from offboard.assembler import Episode
from offboard.evidence import Evidence
from offboard.losses import Loss
from offboard.mismatch import Mismatch
from offboard.page.run_files import RunFiles
from offboard.serve_status import (
    STATUS_FILE,
    Presence,
    RobotStatus,
    ServeStatus,
    as_rows,
    read_status,
    write_status,
)
from offboard.switch import Course
from protocol.errors import StoreError
from protocol.messages import Report
from protocol.step_record import End

EPISODE = Episode(
    number=3, steps=250, length=250, total=96.5, end=End.TRUNCATED, explored=False,
    versions={1: 100, 12: 150},
)  # fmt: skip
REPORT = TO_SERVER["report"]
assert isinstance(REPORT, Report)
STATUS = ServeStatus(
    pid=1,
    endpoint="tcp://127.0.0.1:5571",
    phase="adapt",
    version=2,
    published=2,
    held_back=1,
    unfit=["graph differs"],
    committed=500,
    refusals={"content": 1},
    episodes=[EPISODE],
    evidence=Evidence(
        online=500,
        nmse=0.2,
        offline_fraction=0.3,
        relabelled=800,
        updates=20,
        mismatch=Mismatch(0.1, 0.05, 0.2, 0.1, 0.7, 0.9, 0.4),
        course=Course.RELABEL,
    ),
    report=REPORT,
    unit="rig-1",
    robots=[
        RobotStatus(
            name="rig-1",
            heard_s=9.5,
            report=REPORT,
            stopped="smoke",
            losses=[Loss("disk full", gaps=1, records=40, unknown=0)],
            unwritten=2,
        )
    ],
    clock_steps_back=2,
    damaged=3,
    pinned=1,
    pin_trouble="none",
    publish_trouble="the root has changed",
    disk_trouble="archive: no space",
    disk_failures=4,
)


def test_a_status_survives_the_way(tmp_path: Path) -> None:
    write_status(tmp_path, STATUS)
    assert read_status(tmp_path) == STATUS


def test_a_fresh_servers_status_can_be_read(tmp_path: Path) -> None:
    """Nothing has been judged yet: no error, no report, no episode."""
    evidence = Evidence(online=0, nmse=None, offline_fraction=0.0, relabelled=9, updates=0)
    fresh = msgspec.structs.replace(STATUS, episodes=[], evidence=evidence, report=None)
    write_status(tmp_path, fresh)
    assert read_status(tmp_path) == fresh


def test_before_the_first_status_there_is_none(tmp_path: Path) -> None:
    assert read_status(tmp_path) is None


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff"], ids=repr)
def test_a_damaged_status_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / STATUS_FILE).write_bytes(content)
    with pytest.raises(StoreError, match=STATUS_FILE):
        read_status(tmp_path)


def test_readers_never_see_half_a_status(tmp_path: Path, monkeypatch) -> None:
    write_status(tmp_path, STATUS)
    written: list[Path] = []
    write = Path.write_bytes
    monkeypatch.setattr(Path, "write_bytes", lambda p, data: (written.append(p), write(p, data))[1])
    write_status(tmp_path, STATUS)
    assert tmp_path / STATUS_FILE not in written
    assert [path.name for path in tmp_path.iterdir()] == [STATUS_FILE]


def test_episodes_as_rows_are_json(tmp_path: Path) -> None:
    (row,) = json.loads(json.dumps(as_rows([EPISODE])))
    assert row["versions"] == {"1": 100, "12": 150}
    assert (row["end"], row["total"]) == (2, 96.5)


def test_the_page_reads_what_the_server_writes(tmp_path: Path) -> None:
    write_status(tmp_path, STATUS)
    seen = RunFiles(tmp_path).read()
    assert seen.status is not None
    written = msgspec.to_builtins(STATUS)
    for name, value in msgspec.to_builtins(seen.status).items():
        if name == "evidence":
            assert value.items() <= written["evidence"].items()
        else:
            assert value == written[name], name


def test_a_robot_is_heard_when_its_report_is_another() -> None:
    now_s = [100.0]
    presence = Presence(lambda: now_s[0])
    again = msgspec.structs.replace(REPORT)
    for report, then_s in ((REPORT, 100.0), (REPORT, 101.0), (again, 102.0)):
        now_s[0] = then_s
        (seen,) = presence.robots([("rig-1", report)], lambda name: f"{name} is on fire")
        assert seen.heard_s == (100.0 if report is REPORT else 102.0)
    assert seen.stopped == "rig-1 is on fire"
    assert [robot.name for robot in presence.robots([], lambda name: "")] == ["rig-1"]


def test_a_robots_status_says_what_its_unit_said_of_releases() -> None:
    report = LATER["report of a unit"]
    assert isinstance(report, Report)
    (seen,) = Presence().robots([("rig-1", report)], lambda name: "", unwritten=lambda name: 7)
    told = msgspec.to_builtins(seen)
    assert told["report"]["release"]["verdict"] == "taken back"
    assert told["unwritten"] == 7


def test_a_robots_status_says_what_is_lost_to_what() -> None:
    lost = [Loss("disk full", gaps=2, records=70, unknown=0)]
    (seen,) = Presence().robots([("rig-1", REPORT)], lambda name: "", lambda name: lost)
    told = msgspec.to_builtins(seen)["losses"]
    assert told == [{"reason": "disk full", "gaps": 2, "records": 70, "unknown": 0}]
