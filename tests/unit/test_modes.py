"""Does every mode answer every event as the table promises, and is every way out safe?"""

from __future__ import annotations

import itertools

import pytest

from onboard.modes import TABLE, Event, following
from protocol.modes import MOVING, Mode

PAIRS = list(itertools.product(Mode, Event))

# Written independently of the table: what follows on every event in every mode; a dot stays.
MATRIX = """
                  BOOT      SELFTEST  IDLE    HOMING  RUN      RECOVER  HOLD     FAULT     ESTOP
BOOTED            SELFTEST  .         .       .       .        .        .        .         .
PASSED            .         IDLE      .       .       .        .        .        .         .
FAILED            .         FAULT     .       .       .        .        .        .         .
START             .         .         HOMING  .       .        .        .        .         .
STOP              .         .         .       IDLE    IDLE     IDLE     IDLE     .         .
ESTOP             ESTOP     ESTOP     ESTOP   ESTOP   ESTOP    ESTOP    ESTOP    ESTOP     .
CLEAR             .         .         .       .       .        .        .        SELFTEST  SELFTEST
SETTLED           .         .         .       RUN     .        RUN      .        .         .
EPISODE_OVER      .         .         .       .       RECOVER  .        .        .         .
TIMEOUT           .         FAULT     .       FAULT   .        FAULT    RECOVER  .         .
OPERATOR_TIMEOUT  .         .         .       IDLE    IDLE     IDLE     IDLE     .         .
LATE              .         .         .       HOLD    HOLD     HOLD     .        .         .
BAD_POLICY        .         .         .       .       HOLD     .        .        .         .
MOTOR_SILENT      .         .         .       HOLD    HOLD     HOLD     .        .         .
GIVE_UP           .         .         .       IDLE    IDLE     IDLE     IDLE     .         .
MOTOR_FAULT       FAULT     FAULT     FAULT   FAULT   FAULT    FAULT    FAULT    .         .
BUS_DEAD          FAULT     FAULT     FAULT   FAULT   FAULT    FAULT    FAULT    .         .
"""

HEAD, *ROWS = [line.split() for line in MATRIX.strip().splitlines()]
EXPECTED = {
    (mode, row[0]): mode if cell == "." else cell
    for row in ROWS
    for mode, cell in zip(HEAD, row[1:], strict=True)
}


def test_the_matrix_knows_every_mode_and_every_event_once() -> None:
    """Whoever adds one must say what it means everywhere."""
    assert [mode.name for mode in Mode] == HEAD
    assert [row[0] for row in ROWS] == [event.name for event in Event]
    assert len(EXPECTED) == len(Mode) * len(Event)


@pytest.mark.parametrize(("mode", "event"), PAIRS)
def test_every_mode_answers_every_event(mode: Mode, event: Event) -> None:
    assert following(mode, event).name == EXPECTED[mode.name, event.name]


@pytest.mark.parametrize(("mode", "event"), PAIRS)
def test_power_comes_on_only_by_start(mode: Mode, event: Event) -> None:
    after = following(mode, event)
    if mode not in MOVING and after in MOVING:
        assert (mode, event) == (Mode.IDLE, Event.START)


@pytest.mark.parametrize("mode", [Mode.FAULT, Mode.ESTOP])
def test_latched_modes_open_only_to_an_operator(mode: Mode) -> None:
    for event in set(Event) - {Event.CLEAR}:
        assert following(mode, event) in {Mode.FAULT, Mode.ESTOP}


@pytest.mark.parametrize("mode", Mode)
def test_an_emergency_stop_is_heard_in_every_mode(mode: Mode) -> None:
    assert following(mode, Event.ESTOP) is Mode.ESTOP


@pytest.mark.parametrize("mode", Mode)
def test_nothing_but_a_clear_and_a_self_test_leads_from_a_latch_to_motion(mode: Mode) -> None:
    if mode in {Mode.FAULT, Mode.ESTOP}:
        assert following(mode, Event.CLEAR) is Mode.SELFTEST
    elif mode is Mode.SELFTEST:
        assert {following(mode, event) for event in Event} & MOVING == set()


def test_time_outs_lead_to_safe_modes() -> None:
    """RUN needs none: an episode has a length."""
    after = {mode: following(mode, Event.TIMEOUT) for mode in Mode}
    assert after[Mode.HOMING] is after[Mode.RECOVER] is after[Mode.SELFTEST] is Mode.FAULT
    assert after[Mode.HOLD] is Mode.RECOVER
    assert all(after[mode] is mode for mode in (Mode.BOOT, Mode.IDLE, Mode.FAULT, Mode.ESTOP))


def test_no_mode_is_a_trap_or_unreachable() -> None:
    reached, frontier = {Mode.BOOT}, [Mode.BOOT]
    while frontier:
        for after in TABLE[frontier.pop()].values():
            if after not in reached:
                reached.add(after)
                frontier.append(after)
    assert reached == set(Mode)
