"""What counts against a release, and what never does."""

from __future__ import annotations

from typing import get_origin

import msgspec
import pytest

from onboard.control_api import StateChange, Status, Summary
from onboard.releases.evidence import ANSWER_S, READY_S, Evidence, Look, Pulse, Weight
from onboard.releases.pulse import pulse_of
from onboard.releases.services import ServiceState

HZ = 50
HEALTH_S = 10.0
UP = ServiceState("active")


def pulse(at_s: float, mode: str = "IDLE", passed: bool = True, rate_hz: float = HZ) -> Pulse:
    return Pulse(mode, "why", int(at_s * rate_hz), int(at_s * 1e9), HZ, passed)


def look(
    at_s: float, heard: Pulse | None, control: ServiceState = UP, agent: ServiceState = UP
) -> Look:
    return Look(at_s, control, agent, heard)


def weighed(*looks: Look) -> tuple[Weight, str]:
    evidence = Evidence(HEALTH_S, 0.0)
    found = [evidence.weigh(each) for each in looks]
    return found[-1].weight, found[-1].reason


def seconds(count: int, **pulses: object) -> list[Look]:
    return [look(float(at_s), pulse(float(at_s), **pulses)) for at_s in range(count)]


def test_it_is_proven_once_all_was_well_for_long_enough():
    assert weighed(*seconds(10))[0] is Weight.OPEN
    assert weighed(*seconds(11))[0] is Weight.PROVEN


@pytest.mark.parametrize("mode", ["HOMING", "RUN", "HOLD", "RECOVER", "A_MODE_WE_DO_NOT_KNOW"])
def test_what_the_robot_does_meanwhile_does_not_matter(mode):
    assert weighed(*seconds(11, mode=mode))[0] is Weight.PROVEN


def test_an_emergency_stop_after_the_self_test_neither_proves_nor_hinders():
    assert (
        weighed(*seconds(5), *[look(5.0 + s, pulse(5.0 + s, "ESTOP")) for s in range(6)])[0]
        is Weight.PROVEN
    )


def test_an_emergency_stop_before_the_self_test_leaves_it_open():
    assert weighed(*seconds(60, mode="ESTOP", passed=False))[0] is Weight.OPEN


@pytest.mark.parametrize("mode", ["BOOT", "SELFTEST"])
def test_before_the_self_test_nothing_is_proven(mode):
    assert weighed(*seconds(60, mode=mode, passed=False))[0] is Weight.OPEN


def test_the_time_counts_from_the_self_test_on():
    testing = seconds(8, mode="SELFTEST", passed=False)
    after = [look(8.0 + s, pulse(8.0 + s)) for s in range(11)]
    assert weighed(*testing, *after[:-1])[0] is Weight.OPEN
    assert weighed(*testing, *after)[0] is Weight.PROVEN


@pytest.mark.parametrize(
    "control",
    [
        ServiceState("failed", "exit-code", 4, 70),
        ServiceState("activating", "exit-code", 0, 2),
        ServiceState("active", "success", 1, 0),
        ServiceState("activating", "watchdog", 0, 6),
        ServiceState("failed", "start-limit-hit", 5, 7),
    ],
)
def test_a_control_that_ended_is_the_releases_fault(control):
    weight, reason = weighed(look(1.0, pulse(1.0), control))
    assert weight is Weight.GUILTY
    assert control.result in reason


def test_so_is_an_agent_that_ended():
    assert (
        weighed(look(1.0, pulse(1.0), UP, ServiceState("failed", "exit-code", 5, 70)))[0]
        is Weight.GUILTY
    )


def test_nothing_is_proven_before_the_agent_is_up_and_it_has_its_time_too():
    starting = ServiceState("activating")
    late = [look(float(s), pulse(float(s)), UP, starting) for s in range(int(READY_S) + 1)]
    assert weighed(*late)[0] is Weight.OPEN
    up = [look(READY_S + s, pulse(READY_S + s)) for s in range(11)]
    assert weighed(*late, *up)[0] is Weight.PROVEN
    weight, reason = weighed(*late, look(READY_S + 1.0, pulse(READY_S + 1.0), UP, starting))
    assert (weight, "agent" in reason) == (Weight.GUILTY, True)


def test_a_control_whose_motors_did_not_confirm_puts_the_bus_in_question():
    assert weighed(look(1.0, None, ServiceState("activating", "exit-code", 0, 3)))[0] is Weight.BUS


def test_a_fault_puts_the_bus_in_question_at_any_time():
    weight, reason = weighed(*seconds(9), look(9.0, pulse(9.0, "FAULT")))
    assert (weight, reason) == (Weight.BUS, "FAULT: why")


def test_after_a_fault_the_time_starts_anew():
    fault = look(9.0, pulse(9.0, "FAULT"))
    after = [look(10.0 + s, pulse(10.0 + s)) for s in range(11)]
    assert weighed(*seconds(9), fault, *after[:-1])[0] is Weight.OPEN


def test_a_control_that_never_answers_is_given_its_time_and_no_more():
    assert weighed(look(READY_S, None))[0] is Weight.OPEN
    assert weighed(look(READY_S + 1.0, None))[0] is Weight.GUILTY


def test_a_control_that_answers_no_more_is_given_less():
    assert weighed(*seconds(3), look(2.0 + ANSWER_S, None))[0] is Weight.OPEN
    assert weighed(*seconds(3), look(2.5 + ANSWER_S, None))[0] is Weight.GUILTY


def test_a_slow_loop_is_the_releases_fault():
    weight, reason = weighed(*seconds(11, rate_hz=40.0))
    assert weight is Weight.GUILTY
    assert "40.0 Hz instead of 50" in reason
    assert weighed(*seconds(11, rate_hz=46.0))[0] is Weight.PROVEN


def test_a_loop_that_stands_still_while_control_answers_is_noticed():
    assert weighed(*seconds(11, rate_hz=0.0))[0] is Weight.GUILTY


def ticked(*looks: Look) -> bool:
    evidence = Evidence(HEALTH_S, 0.0)
    for each in looks:
        evidence.weigh(each)
    return evidence.ticked


@pytest.mark.parametrize("mode", ["IDLE", "RUN", "ESTOP", "FAULT"])
def test_two_answers_with_more_ticks_are_a_running_loop_however_the_self_test_ended(mode):
    running = seconds(3, mode=mode, passed=mode == "RUN")
    assert not ticked(running[1])
    assert ticked(*running)


@pytest.mark.parametrize("mode", ["BOOT", "SELFTEST"])
def test_before_the_self_test_is_over_no_loop_has_been_seen_running(mode):
    assert not ticked(*seconds(9, mode=mode, passed=False))


def test_a_loop_that_stands_still_or_begins_anew_has_not_been_seen_running():
    assert not ticked(*seconds(9, rate_hz=0.0))
    assert not ticked(look(8.0, pulse(8.0, "FAULT")), look(9.0, pulse(1.0, "FAULT")))


def status(mode: str, *changes: tuple[str, str]) -> Status:
    empty = {int: 0, list: [], str: "", Summary: Summary()}
    required = {
        each.name: empty.get(get_origin(each.type) or each.type, "")
        for each in msgspec.structs.fields(Status)
        if each.required
    }
    made = [
        StateChange(number=number, at_ns=0, old=old, new=new, reason="")
        for number, (old, new) in enumerate(changes)
    ]
    return Status(**required | {"mode": mode, "changes": made})


@pytest.mark.parametrize(
    ("found", "passed"),
    [
        (status("BOOT"), False),
        (status("SELFTEST", ("BOOT", "SELFTEST")), False),
        (status("IDLE", ("BOOT", "SELFTEST"), ("SELFTEST", "IDLE")), True),
        (status("ESTOP", ("SELFTEST", "IDLE"), ("IDLE", "ESTOP")), True),
        (status("ESTOP", ("BOOT", "ESTOP")), False),
        (status("FAULT", ("SELFTEST", "FAULT")), False),
        (status("RUN"), True),
    ],
)
def test_a_self_test_that_passed_is_told_from_the_changes_of_mode(found, passed):
    assert pulse_of(found).passed is passed
