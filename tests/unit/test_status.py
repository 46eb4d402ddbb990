"""Does the status say everything that an operator or a tool would ask?"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from made_loop import Bench

from onboard.control_api import Start, Status, decode_reply
from onboard.status import Place, snapshot
from onboard.status_text import describe
from protocol.messages import MAX_BYTES, encode
from protocol.modes import Mode
from protocol.robot_spec import RobotSpec

PLACE = Place("furuta", "swing_up", 50, "soft", ["cpu 0 refused: not permitted"])


@pytest.fixture
def bench(
    furuta: RobotSpec, rig_port: Any, make_bundle: Callable[..., Path], tmp_path: Path
) -> Iterator[Bench]:
    """Twenty ticks into RUN."""
    bench = Bench(furuta, rig_port, tmp_path)
    bench.boot()
    bench.load(make_bundle(1), 1)
    bench.obey(Start())
    bench.until(Mode.RUN)
    bench.run(20)
    yield bench
    bench.close()


@pytest.fixture
def status(bench: Bench) -> Status:
    return snapshot(bench.control, bench.ring, PLACE, bench.clock.ns)


def test_it_survives_the_socket(status: Status) -> None:
    data = encode(status)
    assert decode_reply(data) == status
    assert len(data) < MAX_BYTES // 100
    assert msgspec.json.decode(msgspec.json.encode(status))["mode"] == "RUN"


def test_it_says_what_and_since_when(status: Status, bench: Bench, furuta: RobotSpec) -> None:
    assert (status.robot, status.task, status.control_hz) == ("furuta", "swing_up", 50)
    assert (status.pid, status.at_ns) == (os.getpid(), bench.clock.ns)
    in_mode_s = (status.at_ns - status.mode_since_ns) * 1e-9
    assert in_mode_s == pytest.approx(20 * furuta.tick_s, abs=2 * furuta.tick_s)
    changes = [(change.old, change.new) for change in status.changes]
    assert changes == [
        ("BOOT", "SELFTEST"), ("SELFTEST", "IDLE"), ("IDLE", "HOMING"), ("HOMING", "RUN"),
    ]  # fmt: skip
    assert [change.number for change in status.changes] == [1, 2, 3, 4]


def test_a_commitment_that_is_not_durable_is_a_warning(bench: Bench) -> None:
    bench.swap.ledger.trouble = "ledger: no space left"
    found = snapshot(bench.control, bench.ring, PLACE, bench.clock.ns)
    lost = "what is in force would be lost at a restart: ledger: no space left"
    assert found.notes == [*PLACE.notes, lost]
    assert f"warning: {lost}" in describe(found)


def test_each_part_of_the_tick_is_timed_on_both_clocks(status: Status, furuta: RobotSpec) -> None:
    """In simulated time only the bus takes any, and only on the clock that it moves."""
    assert list(status.sections) == ["read", "observe", "infer", "limit", "write"]
    read = status.sections["read"]
    assert read.span_us.p50 == pytest.approx(300.0, rel=0.1)
    assert read.span_us.max < 1e6 * furuta.bus.read_timeout_s
    for name, timing in status.sections.items():
        assert timing.work_us.p50 > 0.0, name
        assert timing.work_us.p50 <= timing.work_us.p99 <= timing.work_us.max, name
    assert sum(status.span_histogram) == sum(status.work_histogram) == status.ticks
    assert status.work_us.p50 >= max(t.work_us.p50 for t in status.sections.values()) * 0.9


def test_people_get_all_of_it_in_words(status: Status) -> None:
    text = describe(status)
    assert text.startswith("furuta: RUN for 0 s (settled at home)")
    assert "policy 1 drives" in text
    assert "HOMING -> RUN: settled at home" in text
    assert "warning: cpu 0 refused: not permitted" in text
    for row in ("late", "tick span", "tick work", "read span", "infer work", "write span"):
        assert f"\n{row} " in text


def test_a_pin_is_said_where_the_policy_is(status: Status) -> None:
    assert "pinned" not in describe(status)
    pinned = msgspec.structs.replace(status, pinned_version=1)
    assert "policy 1 drives (pinned to 1), " in describe(pinned)
