"""The course of releases: every phase meets every event, and what follows is what the page says."""

from __future__ import annotations

from dataclasses import replace

import pytest

from onboard.releases.course import (
    BOOTS_MAX,
    Booted,
    Event,
    Failed,
    Obeyed,
    Proven,
    Ticked,
    Tried,
    following,
)
from onboard.releases.journal import KEPT_ENTRIES, Entry, Journal, Phase

OLD, NEW, GOLD = "old", "new", "gold"
SETTLED = Journal(OLD, "older", GOLD, counter=7)
TRIAL = Journal(NEW, OLD, GOLD, Phase.TRIAL, counter=8)
RETURNED = Journal(OLD, GOLD, GOLD, Phase.RETURNED, counter=8)
PHASES = {journal.phase: journal for journal in (SETTLED, TRIAL, RETURNED)}
TRY, BAD = Tried("newer", 9), Failed("it crashed")
EVENTS: tuple[Event, ...] = (TRY, Obeyed(9), Booted(), Ticked(), Proven(), BAD)
S, T, R = Phase.SETTLED, Phase.TRIAL, Phase.RETURNED
TABLE = {
    (S, Tried): ("newer", T), (T, Tried): (NEW, T), (R, Tried): (OLD, R),
    (S, Obeyed): (OLD, S), (T, Obeyed): (NEW, T), (R, Obeyed): (OLD, R),
    (S, Booted): (OLD, S), (T, Booted): (NEW, T), (R, Booted): (OLD, R),
    (S, Ticked): (OLD, S), (T, Ticked): (NEW, T), (R, Ticked): (OLD, R),
    (S, Proven): (OLD, S), (T, Proven): (NEW, S), (R, Proven): (OLD, S),
    (S, Failed): ("older", R), (T, Failed): (OLD, R), (R, Failed): (GOLD, S),
}  # fmt: skip


def after(journal: Journal, *events: Event) -> Journal:
    for event in events:
        journal = following(journal, event, 1.0)
    return journal


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_every_phase_and_event_lead_where_the_table_says(phase, event):
    found = after(PHASES[phase], event)
    assert (found.current, found.phase) == TABLE[phase, type(event)]


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_whatever_happens_the_unit_keeps_what_it_may_return_to(phase, event):
    found = after(PHASES[phase], event)
    assert found.golden == GOLD
    assert found.counter >= PHASES[phase].counter
    assert (found.phase is S) or found.previous not in ("", found.current)


def test_a_trial_knows_what_it_replaced_and_on_which_terms():
    found = after(SETTLED, Tried(NEW, 8, promote=True, health_s=5.0))
    assert (found.previous, found.counter, found.boots) == (OLD, 8, 0)
    assert (found.promote, found.health_s, found.pending) == (True, 5.0, NEW)


def test_trying_what_is_in_force_changes_nothing():
    assert after(SETTLED, Tried(OLD, 9)) is SETTLED


def test_a_release_becomes_golden_only_when_it_is_proven():
    trial = after(SETTLED, Tried(NEW, 8, promote=True))
    assert trial.golden == GOLD
    assert after(trial, Proven()).golden == NEW
    assert after(trial, BAD, Proven()).golden == GOLD


def test_an_assignment_of_what_runs_raises_the_counter_and_may_make_it_golden():
    assert after(SETTLED, Obeyed(9)) == replace(SETTLED, counter=9)
    assert after(SETTLED, Obeyed(3)).counter == 7
    assert after(SETTLED, Obeyed(9, promote=True)).golden == OLD


def test_three_starts_without_a_running_loop_are_a_failure():
    booted = after(TRIAL, *[Booted()] * BOOTS_MAX)
    assert (booted.current, booted.boots) == (NEW, BOOTS_MAX)
    assert after(booted, Booted()).current == OLD


def test_a_start_after_which_the_loop_ran_does_not_count():
    found = TRIAL
    for _ in range(10):
        found = after(found, Booted(), Ticked())
    assert found == TRIAL


def test_from_previous_it_goes_to_golden_and_no_further():
    found = after(TRIAL, BAD, BAD)
    assert (found.current, found.previous, found.phase) == (GOLD, "", S)
    assert after(found, BAD).current == GOLD


def test_starts_count_against_the_one_before_too():
    found = after(TRIAL, BAD, *[Booted()] * (BOOTS_MAX + 1))
    assert (found.current, found.phase) == (GOLD, S)


def test_where_previous_is_golden_there_is_nothing_left_to_prove():
    found = after(replace(TRIAL, previous=GOLD), BAD)
    assert (found.current, found.previous, found.phase) == (GOLD, "", S)


def test_what_was_taken_back_is_remembered_with_its_assignment_until_it_is_proven():
    found = after(TRIAL, BAD, Proven())
    assert found.failed == {NEW: 8}
    assert after(found, Tried(NEW, 9), Proven()).failed == {}


def test_with_nothing_to_return_to_all_stays():
    lonely = Journal(GOLD, "", GOLD)
    found = after(lonely, BAD)
    assert (found.current, found.phase) == (GOLD, S)
    assert found.log[-1] == Entry(1.0, "nothing to return to", GOLD, BAD.reason)


def test_the_log_says_what_happened_and_keeps_its_length():
    found = after(SETTLED, Tried(NEW, 8), BAD)
    assert [(entry.event, entry.release) for entry in found.log] == [
        ("trial", NEW),
        ("taken back", NEW),
    ]
    assert found.log[-1].reason == BAD.reason
    for number in range(30):
        found = after(found, Proven(), Tried(f"r{number}", 10 + number))
    assert len(found.log) == KEPT_ENTRIES
