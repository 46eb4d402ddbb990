"""Who may say what to the server, and what it answers when it cannot do its part."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest
from made_link import Link, Robot, Server
from made_records import SPEC, make_records

from offboard import plausibility, reception
from offboard.door import Arrival
from onboard.spool_entry import Tail, entries_of
from protocol.messages import Ack, Batch, Gap, Hello, Refused, Report, ToRobot, encode

EPOCH = "a" * 32
HELLO = Hello(epoch=EPOCH, robot_digest=SPEC.digest(), task="swing_up", first_held=1)
REPORT = Report(
    epoch=EPOCH,
    mode=4,
    active_version=3,
    ticks=9,
    missed_ticks=0,
    produced=9,
    spooled=9,
    dropped=0,
)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "episodes.sqlite")
    yield server
    server.stop()


def batch(seq: int, rows: np.ndarray | None = None) -> Batch:
    rows = make_records(10 * seq, 10) if rows is None else rows
    return entries_of(rows, Tail())[0].message(EPOCH, seq)


def told(server: Server, *messages: msgspec.Struct, robot: str = "r") -> list[ToRobot]:
    arrivals = [Arrival(b"route", robot, encode(message)) for message in messages]
    return [reply.message for reply in server.reception.take(arrivals).replies]


def test_data_before_a_hello_is_refused(server):
    (answer,) = told(server, batch(1))
    assert isinstance(answer, Refused)
    assert "hello" in answer.reason
    assert server.store.account("r").committed == 0


def test_a_robot_of_another_file_is_told_so(server):
    (answer,) = told(server, msgspec.structs.replace(HELLO, robot_digest="0" * 64))
    assert "robot file" in answer.reason
    (answer,) = told(server, batch(1))
    assert isinstance(answer, Refused)


def test_every_report_is_passed_on_with_the_name_of_its_key(server):
    heard = []
    server.reception = reception.Reception(
        server.store, SPEC, server.path.parent, on_report=lambda *said: heard.append(said)
    )
    told(server, REPORT)
    assert heard == [], "no hello came first"
    told(server, HELLO, REPORT)
    assert heard == [("r", REPORT)]


def test_a_burst_is_acknowledged_once_after_its_commit(server):
    told(server, HELLO)
    (ack,) = told(server, batch(1), batch(2), batch(3))
    assert (ack.last, ack.resend) == (3, False)
    assert server.store.last("r", EPOCH) == 3


def test_a_robot_can_only_write_its_own_data(server):
    """Even with the other's epoch: names come from keys."""
    told(server, HELLO, batch(1), robot="a")
    told(server, HELLO, robot="b")
    told(server, batch(1, make_records(500, 3)), robot="b")
    assert server.store.account("a").committed == 10
    assert server.store.account("b").committed == 3


def test_a_key_cannot_begin_any_number_of_spools(server, monkeypatch):
    """Each would cost the disk a transaction, and with a first_held beyond 1 a gap for ever."""
    monkeypatch.setattr(reception, "STREAMS_MAX", 2)
    fresh = [msgspec.structs.replace(HELLO, epoch=f"{n:032x}", first_held=9) for n in range(4)]
    answers = told(server, *fresh)
    assert [isinstance(answer, Ack) for answer in answers] == [True, True, False, False]
    assert "keys revoke r" in answers[-1].reason
    assert server.reception.refusals["too many spools"] == 2
    assert server.store.streams("r") == 2
    (known, other) = told(server, fresh[0]) + told(server, fresh[3], robot="other")
    assert isinstance(known, Ack), "a spool that is known goes on"
    assert isinstance(other, Ack), "another robot is not concerned"


def test_every_answer_carries_the_newest_policy(server):
    server.reception.policy_version = 7
    answers = told(server, HELLO) + told(server, batch(1)) + told(server, REPORT)
    assert [answer.policy_version for answer in answers] == [7, 7, 7]
    assert server.reception.reports["r"].active_version == 3


def test_records_are_passed_on_after_the_commit_and_once(server):
    told(server, HELLO)
    arrivals = [Arrival(b"", "r", encode(message)) for message in (batch(1), batch(1))]
    outcome = server.reception.take(arrivals)
    assert [(c.robot, len(c.rows)) for c in outcome.committed] == [("r", 10)]
    assert server.reception.take(arrivals).committed == []
    assert server.reception.duplicates == 3


def test_a_failing_store_acknowledges_nothing(server):
    told(server, HELLO)
    server.stop()
    answers = told(server, batch(1), REPORT, HELLO)
    assert all(isinstance(answer, Refused) for answer in answers)
    server.start()
    assert server.store.last("r", EPOCH) == 0


def test_content_that_cannot_be_accepted_becomes_a_gap_and_the_stream_goes_on(server, tmp_path):
    link = Link()
    robot = Robot(tmp_path / "spool.sqlite", link)
    bad = make_records(10, 10)
    bad["obs"][4] = np.nan
    for rows in (make_records(0, 10), bad, make_records(20, 10)):
        robot.ring = rows
        robot.collect()
    for turn in range(6):
        robot.uplink.step(float(turn))
        server.handle(link, 99)
    robot.uplink.step(9.0)
    assert robot.spool.first_held == 4
    assert robot.spool.quarantined == 1
    robot.stop()
    assert server.store.account("r").committed == 20
    (gap,) = server.store.gaps("r")
    assert "non-finite obs" in gap.reason
    assert gap.count == 10


def test_a_clock_that_runs_backwards_between_batches_is_counted_and_taken(server):
    told(server, HELLO, batch(1), batch(2))
    assert server.reception.clocks.steps_back == 0
    late = make_records(30, 10)
    for field in ("sense_ns", "act_ns"):
        late[field] -= late["sense_ns"][0]
    told(server, batch(3, late))
    told(server, batch(4, make_records(0, 10, generation=2)))  # the robot was switched off
    assert server.reception.clocks.steps_back == 1
    assert server.store.account("r").committed == 40


def test_a_spool_that_forgot_its_newest_batch_does_not_reuse_its_number(server, tmp_path):
    """The power cut took the commit back, but the server already has what it said."""
    link = Link()
    robot = Robot(tmp_path / "spool.sqlite", link)
    turn = itertools.count()

    def run(rows: np.ndarray, turns: int) -> None:
        robot.ring = rows
        robot.collect()
        for _ in range(turns):
            robot.uplink.step(2.0 * next(turn))
            server.handle(link, 99)

    run(make_records(0, 10), 4)
    robot.stop()
    old = robot.path.read_bytes()
    robot.start(1 << 20)
    run(make_records(10, 10), 4)
    robot.stop()
    robot.path.write_bytes(old)
    robot.start(1 << 20)
    run(make_records(0, 10, generation=2), 8)
    robot.uplink.step(99.0)
    assert robot.spool.first_held > robot.spool.newest
    robot.stop()
    assert server.store.account("r").committed == 30


def test_a_spool_restored_from_an_old_copy_loses_nothing(server, tmp_path):
    """The server is ahead of the spool's memory: a new epoch begins, all is sent again."""
    link = Link()
    robot = Robot(tmp_path / "spool.sqlite", link)

    def run(rows: np.ndarray) -> None:
        robot.ring = rows
        robot.collect()
        for _ in range(8):
            robot.uplink.step(run.now_s)
            server.handle(link, 99)
            run.now_s += 2.0

    run.now_s = 0.0
    run(make_records(0, 10))
    robot.stop()
    old = robot.path.read_bytes()
    robot.start(1 << 20)
    for first in (10, 20, 30):
        run(make_records(first, 10))
    robot.stop()
    robot.path.write_bytes(old)
    robot.start(1 << 20)
    run(make_records(40, 10))
    assert robot.spool.first_held > robot.spool.newest
    robot.stop()
    account = server.store.account("r")
    assert (account.committed, account.holes) == (50, 0)
    (ahead,) = {gap.reason for gap in server.store.gaps("r")}
    assert "not in the ring" in ahead, "declared by a spool that had forgotten sending them"


def test_a_late_answer_about_a_former_epoch_deletes_nothing(server, tmp_path):
    link = Link()
    robot = Robot(tmp_path / "spool.sqlite", link)
    robot.ring = make_records(0, 10)
    robot.collect()
    link.to_robot.append(encode(Ack(epoch="f" * 32, last=1, policy_version=9)))
    robot.uplink.step(0.0)
    assert (robot.spool.first_held, robot.spool.newest) == (1, 1)
    assert robot.uplink.policy_version == 9
    robot.stop()


def test_gaps_are_committed_like_batches(server):
    told(server, HELLO)
    gap = Gap(epoch=EPOCH, seq=1, first_record=0, count=3, reason="disk full")
    (ack,) = told(server, gap, batch(2))
    assert isinstance(ack, Ack)
    assert ack.last == 2


def test_a_spool_that_claims_more_numbers_than_there_can_be_is_refused(server):
    most = plausibility.NUMBER_MAX
    (refused,) = told(server, msgspec.structs.replace(HELLO, first_held=most + 1))
    assert "robots count from 1" in refused.reason
    assert server.reception.refusals["implausible hello"] == 1
    assert server.store.gaps("r") == []
    (ack,) = told(server, msgspec.structs.replace(HELLO, first_held=most))
    assert isinstance(ack, Ack)


def test_a_key_cannot_put_any_number_of_gaps_on_record(server, monkeypatch):
    monkeypatch.setattr(reception, "GAPS_PER_HOUR", 3)
    clock = SimpleNamespace(now_s=0.0)
    server.reception._allowance._clock_s = lambda: clock.now_s
    gaps = [Gap(epoch=EPOCH, seq=n, first_record=0, count=0, reason="so") for n in range(1, 6)]
    answers = told(server, HELLO, *gaps)
    assert server.store.last("r", EPOCH) == 3
    (refused, _) = [answer for answer in answers if isinstance(answer, Refused)]
    assert "keys revoke r" in refused.reason
    (later,) = told(server, msgspec.structs.replace(HELLO, first_held=9))
    assert isinstance(later, Refused), "a greeting is no way around"
    assert server.reception.refusals["too many gaps"] == 3
    (greeting,) = told(server, HELLO, robot="other")
    assert isinstance(greeting, Ack)
    clock.now_s = 3600.0
    told(server, *gaps[3:])
    assert server.store.last("r", EPOCH) == 5
