"""Is every change of a robot's release kept once, with its time, and can no robot fill the disk?"""

from __future__ import annotations

import json
import os
from itertools import cycle, islice
from pathlib import Path

import pytest
from made_messages import LATER, REPORT
from msgspec.structs import replace

from offboard.release_changes import CHANGES_PER_HOUR, LINES_MAX, Changes, Heard
from offboard.release_record import RELEASES_FILE, ReleaseRecord, lines_of, read_lines
from protocol.errors import StoreError
from protocol.messages import Release, Report

TRIAL = Release(running="b", tried="b", verdict="trial", at_s=50)
PROVEN = replace(TRIAL, verdict="proven", at_s=60)
BACK = Release(running="a", tried="b", verdict="taken back", reason="control hung", at_s=61)


def report(said: Release) -> Report:
    made = replace(LATER["report of a unit"], release=said)
    assert isinstance(made, Report)
    return made


class Server:
    """A record in a run directory, and the time."""

    def __init__(self, run: Path) -> None:
        (run / "config.json").write_text("{}")
        self.run, self.now_s = run, 1000.0
        self.start()

    def start(self) -> None:
        self.record = ReleaseRecord(self.run, lambda: self.now_s)
        self.record.recall()

    def hear(self, *said: Release, robot: str = "duck", every_s: float = 1.0) -> None:
        for each in said:
            self.record.heard(robot, report(each))
            self.now_s += every_s

    def lines(self) -> list[Heard]:
        self.record.write()
        return lines_of(self.run)


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(tmp_path)


def test_each_change_is_one_line_with_the_time_it_was_heard(server: Server) -> None:
    server.hear(TRIAL, TRIAL, TRIAL, PROVEN, PROVEN)
    assert server.lines() == [
        Heard(at_s=1000.0, robot="duck", said=TRIAL),
        Heard(at_s=1003.0, robot="duck", said=PROVEN),
    ]


def test_the_same_verdict_on_a_second_try_is_another_line(server: Server) -> None:
    server.hear(BACK, replace(BACK, at_s=161))
    assert [line.said.at_s for line in server.lines()] == [61, 161]


def test_who_says_nothing_of_releases_leaves_no_file(server: Server) -> None:
    server.record.heard("bench", REPORT)
    assert server.lines() == []
    assert not (server.run / RELEASES_FILE).exists()


def test_a_restarted_server_writes_nothing_again(server: Server) -> None:
    server.hear(TRIAL, PROVEN)
    before = server.lines()
    server.start()
    server.hear(PROVEN, PROVEN)
    assert server.lines() == before
    server.hear(BACK)
    assert [line.said for line in server.lines()] == [TRIAL, PROVEN, BACK]


def test_robots_do_not_stand_for_each_other(server: Server) -> None:
    server.hear(PROVEN, robot="duck")
    server.hear(PROVEN, robot="goose")
    assert [line.robot for line in server.lines()] == ["duck", "goose"]


def test_a_line_that_a_crash_cut_short_is_not_glued_to_the_next(server: Server) -> None:
    server.hear(TRIAL)
    assert len(server.lines()) == 1
    path = server.run / RELEASES_FILE
    path.write_bytes(path.read_bytes() + b'{"at_s": 1001.0, "rob')
    assert [line.said for line in lines_of(server.run)] == [TRIAL], "it may be written just now"
    server.start()
    server.hear(PROVEN)
    assert [line.said for line in server.lines()] == [TRIAL, PROVEN]


def test_a_flapping_robot_is_bounded_counted_and_told_in_the_end(server: Server) -> None:
    server.hear(*islice(cycle((TRIAL, PROVEN)), 1000))
    assert len(server.lines()) == CHANGES_PER_HOUR
    assert server.record.unwritten("duck") == 1000 - CHANGES_PER_HOUR
    server.hear(TRIAL, robot="goose")
    assert server.lines()[-1].robot == "goose", "nobody else is kept from speaking"
    server.hear(BACK, every_s=3600.0)
    server.hear(BACK)
    last = server.lines()[-1]
    assert (last.robot, last.said, last.unwritten) == ("duck", BACK, 1000 - CHANGES_PER_HOUR)
    assert last.at_s == 2001.0, "when it was heard first"
    assert server.record.unwritten("duck") == 0


def test_a_robots_lines_are_counted_for_the_life_of_the_run(server: Server) -> None:
    for at_s in range(LINES_MAX + 50):
        server.hear(replace(TRIAL, at_s=at_s), every_s=3600.0)
        if at_s % 500 == 0:
            server.record.write()
            server.start()
    assert len(server.lines()) == LINES_MAX
    server.start()
    server.hear(BACK, every_s=7200.0)
    server.hear(BACK)
    assert len(server.lines()) == LINES_MAX
    assert server.record.unwritten("duck") == 1


def test_a_clock_that_is_set_back_locks_nobody_out() -> None:
    changes = Changes()
    for n in range(CHANGES_PER_HOUR):
        assert changes.heard("duck", replace(TRIAL, at_s=n), 9000.0 + n)
    assert changes.heard("duck", BACK, 9100.0) is None
    assert changes.heard("duck", BACK, 10.0) is not None


def test_a_state_that_came_back_before_it_could_be_written_is_only_counted() -> None:
    changes = Changes()
    said = [replace(TRIAL, at_s=n) for n in range(CHANGES_PER_HOUR)]
    for each in said:
        changes.heard("duck", each, 0.0)
    assert changes.heard("duck", BACK, 1.0) is None
    assert changes.heard("duck", said[-1], 2.0) is None
    assert changes.heard("duck", said[-1], 4000.0) is None
    line = changes.heard("duck", PROVEN, 4001.0)
    assert line is not None
    assert line.unwritten == 2, "there and back"


def test_what_a_terminal_would_obey_is_not_written(server: Server) -> None:
    server.hear(replace(BACK, reason="\x1b[2Jall is\nwell\u202e é"))
    (line,) = server.lines()
    assert line.said.reason == " [2Jall is well  é"


def test_a_disk_that_refuses_loses_nothing(server: Server, monkeypatch) -> None:
    server.hear(TRIAL)
    before = server.lines()

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    server.hear(PROVEN)
    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", full)
        for _ in range(2):
            with pytest.raises(StoreError, match="No space left"):
                server.record.write()
    assert lines_of(server.run) == before
    assert [line.said for line in server.lines()] == [TRIAL, PROVEN]


def test_a_damaged_line_is_passed_over_by_the_server_and_named_to_people(server: Server) -> None:
    server.hear(TRIAL, PROVEN)
    server.record.write()
    path = server.run / RELEASES_FILE
    first, second, _ = path.read_bytes().split(b"\n")
    path.write_bytes(first + b"\n\xff" + second[:9] + b"\n" + second + b"\n")
    with pytest.raises(StoreError, match="line 2 is damaged; keep a copy"):
        lines_of(server.run)
    with pytest.raises(StoreError, match="line 2 is damaged and passed over"):
        server.start()
    server.hear(PROVEN)
    server.record.write()
    assert len(path.read_bytes().splitlines()) == 3, "it knows what the others say"


@pytest.mark.parametrize(
    "wrong",
    [
        {"at_s": -1.0},
        {"at_s": 1e300},
        {"robot": "../duck"},
        {"robot": "Duck\x1b"},
        {"said": {"running": "a"}},
        {"said": None},
        {"unwritten": -1},
    ],
    ids=repr,
)
def test_a_line_is_believed_only_as_far_as_a_robot(server: Server, wrong: dict) -> None:
    server.hear(TRIAL)
    server.record.write()
    path = server.run / RELEASES_FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), **wrong}) + "\n")
    assert read_lines(path) == ([], [1])


def test_what_is_no_run_is_named_with_what_to_do(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(StoreError, match=f"{path} is no run of serve; name the --out"):
            lines_of(path)
    (tmp_path / "config.json").write_text("{}")
    assert lines_of(tmp_path) == [], "an older server wrote none"
    (tmp_path / RELEASES_FILE).mkdir()
    with pytest.raises(StoreError, match="cannot be read"):
        lines_of(tmp_path)
