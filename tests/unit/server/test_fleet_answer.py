"""What a unit says is read as it is meant, and not believed further than it goes."""

from __future__ import annotations

import json

import pytest

from offboard.fleet.answer import Visit, judged

OLD, NEW = "0" * 16, "1" * 16


def status(current: str, healthy: bool = True) -> str:
    return json.dumps({"current": current, "healthy": healthy, "phase": "settled", "log": []})


def said(verdict: str, after: str = NEW, reason: str = "") -> str:
    line = {"unit": "duck", "release_before": OLD, "release_after": after}
    return "a warning\n" + json.dumps({**line, "verdict": verdict, "reason": reason}) + "\n"


def visit(installed: str = "", after: str = status(NEW), **more: str) -> Visit:
    return Visit(installed=installed, before=status(OLD), after=after, **more)


@pytest.mark.parametrize("verdict", ["installed", "already"])
def test_a_unit_that_is_well_is_believed(verdict: str) -> None:
    answer = judged(visit(said(verdict)), NEW)
    assert (answer.verdict, answer.before) == (verdict, OLD)


@pytest.mark.parametrize("after", [status(NEW, False), status(OLD), "", "nonsense"])
def test_a_unit_that_says_installed_and_is_not_well_is_not(after: str) -> None:
    answer = judged(visit(said("installed"), after), NEW)
    assert answer.verdict == "unproven"
    assert answer.reason


@pytest.mark.parametrize("verdict", ["rolled_back", "refused", "unsafe", "busy", "unproven"])
def test_every_other_verdict_is_passed_on_with_its_reason(verdict: str) -> None:
    answer = judged(visit(said(verdict, OLD, "because"), status(OLD)), NEW)
    assert (answer.verdict, answer.reason, answer.before) == (verdict, "because", OLD)


@pytest.mark.parametrize(
    ("log", "verdict"),
    [
        ([("trial", NEW), ("taken back", NEW)], "rolled_back"),
        ([("taken back", NEW), ("trial", NEW)], "unproven"),
        ([("trial", NEW)], "unproven"),
        ([("taken back", OLD)], "unproven"),
    ],
)
def test_a_release_that_was_taken_back_failed_even_if_the_old_one_waits_for_somebody(
    log, verdict
) -> None:
    entries = [{"event": event, "release": release, "at_s": 1.0} for event, release in log]
    after = json.dumps({"current": OLD, "healthy": False, "mode": "ESTOP", "log": entries})
    assert judged(visit(said("unproven", OLD, "it hung"), after), NEW).verdict == verdict


def test_a_release_that_the_unit_had_fetched_and_taken_back_was_taken_back() -> None:
    log = [
        {"event": event, "release": NEW, "reason": f"{event}: it crashed"}
        for event in ("trial", "taken back")
    ]
    after = json.dumps({"current": OLD, "healthy": True, "log": log})
    answer = judged(visit(said("refused", OLD, "was taken back"), after), NEW)
    assert (answer.verdict, answer.reason) == ("rolled_back", "taken back: it crashed")


def test_who_runs_it_already_was_not_asked() -> None:
    now = json.dumps({"current": NEW, "previous": OLD, "healthy": True})
    answer = judged(Visit(before=now, after=now), NEW)
    assert (answer.verdict, answer.before) == ("already", OLD), "one can still go back"


@pytest.mark.parametrize("verdict", ["refused", "busy"])
def test_who_fetched_the_release_before_it_was_brought_has_it(verdict: str) -> None:
    now = json.dumps({"current": NEW, "previous": OLD, "healthy": True})
    answer = judged(visit(said(verdict, NEW, "older than what was accepted"), now), NEW)
    assert (answer.verdict, answer.before) == ("already", OLD)
    ill = judged(visit(said(verdict, NEW, "so"), status(NEW, False)), NEW)
    assert ill.verdict == verdict, "it does not run well"


@pytest.mark.parametrize("name", ["../../etc/passwd", "0" * 15, "x" * 16, "0" * 16 + "\n"])
@pytest.mark.parametrize("field", ["current", "previous"])
def test_what_cannot_be_a_release_is_not_taken_for_one(field: str, name: str) -> None:
    ill = json.dumps({"current": OLD, "previous": OLD, "healthy": True, field: name})
    line = json.dumps({"verdict": "installed", "release_before": name})
    for answer in (
        judged(Visit(before=ill, after=status(NEW)), NEW),
        judged(Visit(installed=line, after=status(NEW)), NEW),
    ):
        assert answer.before == ""


def test_a_release_that_could_not_be_copied_is_a_refusal() -> None:
    answer = judged(visit(copied="No space left on device", after=status(OLD)), NEW)
    assert answer.verdict == "refused"
    assert "No space" in answer.reason


@pytest.mark.parametrize("text", ["Traceback: no idea", '{"verdict": "splendid"}', "[]", "\x00"])
def test_what_is_no_report_proves_nothing(text: str) -> None:
    assert judged(visit(text), NEW).verdict == "unproven"


def test_a_long_reason_is_cut() -> None:
    assert len(judged(visit(said("refused", OLD, "x" * 9999)), NEW).reason) <= 400
