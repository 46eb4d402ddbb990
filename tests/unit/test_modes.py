"""Does every mode answer every event as the table promises, and is every way out safe?"""

from __future__ import annotations

import itertools

import pytest

from onboard.modes import TABLE, Event, following
from protocol.modes import MOVING, Mode

PAIRS = list(itertools.product(Mode, Event))
DRIVING = {Mode.HOMING, Mode.RUN, Mode.RECOVER}
POWERED = DRIVING | {Mode.HOLD}

# Written independently of the table: every pair that changes the mode.
EXPECTED = {
    **{(mode, Event.ESTOP): Mode.ESTOP for mode in Mode},
    **{(mode, Event.BUS_DEAD): Mode.FAULT for mode in Mode if mode is not Mode.ESTOP},
    **{(mode, Event.MOTOR_FAULT): Mode.FAULT for mode in Mode if mode is not Mode.ESTOP},
    **{(mode, Event.STOP): Mode.IDLE for mode in POWERED},
    **{(mode, Event.OPERATOR_TIMEOUT): Mode.IDLE for mode in POWERED},
    **{(mode, Event.GIVE_UP): Mode.IDLE for mode in POWERED},
    **{(mode, Event.LATE): Mode.HOLD for mode in DRIVING},
    **{(mode, Event.MOTOR_SILENT): Mode.HOLD for mode in DRIVING},
    (Mode.BOOT, Event.BOOTED): Mode.SELFTEST,
    (Mode.SELFTEST, Event.PASSED): Mode.IDLE,
    (Mode.SELFTEST, Event.FAILED): Mode.FAULT,
    (Mode.SELFTEST, Event.TIMEOUT): Mode.FAULT,
    (Mode.IDLE, Event.START): Mode.HOMING,
    (Mode.HOMING, Event.SETTLED): Mode.RUN,
    (Mode.HOMING, Event.TIMEOUT): Mode.FAULT,
    (Mode.RUN, Event.EPISODE_OVER): Mode.RECOVER,
    (Mode.RUN, Event.BAD_POLICY): Mode.HOLD,
    (Mode.RECOVER, Event.SETTLED): Mode.RUN,
    (Mode.RECOVER, Event.TIMEOUT): Mode.FAULT,
    (Mode.HOLD, Event.TIMEOUT): Mode.RECOVER,
    (Mode.FAULT, Event.CLEAR): Mode.SELFTEST,
    (Mode.ESTOP, Event.CLEAR): Mode.SELFTEST,
}


@pytest.mark.parametrize(("mode", "event"), PAIRS)
def test_every_mode_answers_every_event(mode: Mode, event: Event) -> None:
    assert following(mode, event) is EXPECTED.get((mode, event), mode)


@pytest.mark.parametrize(("mode", "event"), PAIRS)
def test_power_comes_on_only_by_start(mode: Mode, event: Event) -> None:
    after = following(mode, event)
    if mode not in MOVING and after in MOVING:
        assert (mode, event) == (Mode.IDLE, Event.START)


@pytest.mark.parametrize("mode", [Mode.FAULT, Mode.ESTOP])
def test_latched_modes_open_only_to_an_operator(mode: Mode) -> None:
    for event in set(Event) - {Event.CLEAR}:
        assert following(mode, event) in {Mode.FAULT, Mode.ESTOP}


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
