"""Does the flight recorder get every tick, with what went in and what came out?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_loop import Bench

from onboard.control_api import Clear, Estop, Start
from onboard.flight_ring import read_flight
from onboard.lifecycle import KEPT_CHANGES
from onboard.recorder import flight_dtype
from onboard.schedule import Wake
from onboard.stopwatch import Section
from onboard.tick import Driver
from protocol import xl330
from protocol.envelope import Limited
from protocol.modes import Mode
from protocol.robot_spec import RobotSpec
from protocol.step_record import Flag, Rows

Make = Callable[..., Path]


@pytest.fixture
def bench(furuta: RobotSpec, rig_port: Any, tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(furuta, rig_port, tmp_path)
    bench.boot()
    yield bench
    bench.close()


@pytest.fixture
def flown(furuta: RobotSpec, tmp_path: Path) -> Callable[[], Rows]:
    def rows() -> Rows:
        flight = read_flight(tmp_path / "flight", flight_dtype(furuta))
        assert flight is not None
        return flight.rows

    return rows


def drive(bench: Bench, folder: Path) -> None:
    bench.load(folder, 1)
    assert bench.obey(Start()).ok
    bench.until(Mode.RUN)


def test_every_tick_is_kept_whatever_the_mode(
    bench: Bench, make_bundle: Make, flown: Callable[[], Rows]
) -> None:
    bench.run(30)
    drive(bench, make_bundle(1))
    bench.run(10)
    bench.obey(Estop())
    bench.run(20)
    rows = flown()
    assert rows["tick"].tolist() == [*range(1, bench.control.counters.ticks + 1)]
    assert {Mode.IDLE, Mode.HOMING, Mode.RUN, Mode.ESTOP} == set(rows["mode"].tolist())
    streamed = bench.rows()
    both = rows[np.isin(rows["tick"], streamed["tick"])]
    for name in ("sense_ns", "act_ns", "flags", "obs", "requested", "applied", "work_us", "end"):
        np.testing.assert_array_equal(both[name], streamed[name], err_msg=name)


def test_readings_are_kept_as_the_nodes_sent_them(
    bench: Bench, furuta: RobotSpec, make_bundle: Make, flown: Callable[[], Rows]
) -> None:
    drive(bench, make_bundle(1))
    rows = flown()[-20:]
    turned = (rows["position_count"] - xl330.CENTRE_COUNT) * xl330.RAD_PER_COUNT
    arm = turned[:, 0] + furuta.joints[0].offset_rad
    assert 0.5 * arm == pytest.approx(rows["obs"][:, 0], abs=1e-6)
    assert (rows["slot_ns"] <= rows["started_ns"]).all()
    assert (rows["started_ns"] <= rows["sense_ns"]).all()
    assert (rows["sense_ns"] < rows["act_ns"]).all()


def test_what_was_asked_given_in_force_and_applied_are_told_apart(
    bench: Bench, make_bundle: Make, flown: Callable[[], Rows]
) -> None:
    """A policy that pushes into the barrier for good."""
    drive(bench, make_bundle(1, gain=0.0, bias=9.0))
    bench.run(60)
    rows = flown()
    rows = rows[rows["driver"] == Driver.POLICY]
    limited = rows[(rows["flags"] & Limited.POSITION) > 0]
    assert len(limited) > 0
    assert limited["requested"] == pytest.approx(1.0)
    np.testing.assert_array_equal(limited["commanded"], limited["requested"])
    assert (limited["applied"] < 0.9).all()
    np.testing.assert_array_equal(rows["previous"][1:], rows["applied"][:-1])
    assert rows["asked"].all()
    assert rows["sent"].all()


def test_a_tick_without_readings_coasts_and_says_so(
    bench: Bench, make_bundle: Make, flown: Callable[[], Rows]
) -> None:
    drive(bench, make_bundle(1))
    bench.port.mute = True
    bench.run(1)
    last = flown()[-1]
    assert (last["driver"], bool(last["sensed"]), bool(last["sent"])) == (Driver.COAST, False, True)
    assert last["flags"] & Flag.STALE_SENSOR
    assert last["section_span_us"][Section.READ] == pytest.approx(6000.0, rel=0.1)
    assert last["section_span_us"][Section.OBSERVE] == 0.0
    bench.port.dead = True
    bench.run(1)
    assert not flown()[-1]["sent"]


def test_parts_add_up_to_less_than_the_tick(
    bench: Bench, make_bundle: Make, flown: Callable[[], Rows]
) -> None:
    drive(bench, make_bundle(1))
    bench.run(20)
    rows = flown()[-20:]
    parts_us, tick_us = rows["section_work_us"].sum(axis=1), rows["work_us"]
    assert (rows["section_work_us"] > 0.0).all()
    assert (parts_us <= tick_us).all()
    assert (rows["section_span_us"].sum(axis=1) <= rows["span_us"] * (1 + 1e-6)).all()


def test_the_kick_follows_every_tick_of_the_loop(
    bench: Bench, furuta: RobotSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    control, kicks = bench.control, []

    def kick(now_ns: int) -> None:
        kicks.append((control.counters.ticks, now_ns))
        if len(kicks) == 5:
            control.end()

    monkeypatch.setattr(control, "_kick", kick)
    before = control.counters.ticks
    control.run()
    assert [ticks for ticks, _ in kicks] == [*range(before + 1, before + 6)]
    assert kicks[-1][1] <= bench.clock.ns


def test_changes_of_mode_are_numbered_and_few_are_kept(bench: Bench) -> None:
    for _ in range(KEPT_CHANGES):
        bench.obey(Estop())
        bench.obey(Clear())
        bench.until(Mode.IDLE)
    changes = list(bench.control.life.changes)
    assert len(changes) == KEPT_CHANGES
    numbers = [change.number for change in changes]
    assert numbers == [*range(numbers[0], numbers[0] + KEPT_CHANGES)]
    assert (changes[-1].old, changes[-1].new) == ("SELFTEST", "IDLE")
    assert len(changes[-1].reason) < 257


def test_a_slot_of_the_schedule_is_kept_as_it_was(bench: Bench, flown: Callable[[], Rows]) -> None:
    bench.control.tick(Wake(77, slot_ns=10**9, started_ns=10**9 + 2_500_000, skipped=3))
    last = flown()[-1]
    assert (last["tick"], last["slot_ns"], last["started_ns"]) == (77, 10**9, 10**9 + 2_500_000)
    assert last["period_error_us"] == 2500.0


@pytest.mark.parametrize("soft", [False, True])
def test_a_loop_without_real_time_says_so_in_every_record(
    bench: Bench, make_bundle: Make, flown: Callable[[], Rows], soft: bool
) -> None:
    if soft:
        bench.control.admit_soft()
    begun = len(flown())
    drive(bench, make_bundle(1))
    bench.run(10)
    streamed = bench.rows()
    for rows in (flown()[begun:], streamed[streamed["mode"] == Mode.RUN]):
        assert ((rows["flags"] & Flag.SOFT > 0) == soft).all()
        assert len(rows) >= 10
