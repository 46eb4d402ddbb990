"""What becomes of a unit's releases: a pure function from (journal, event) to journal.

::

    SETTLED ──Tried──▶ TRIAL ──Proven──▶ SETTLED
                         └──Failed──▶ RETURNED (previous) ──Proven──▶ SETTLED
                                          └──Failed──▶ SETTLED (golden)

A machine that starts three times without the loop having been seen ticking has failed as well.
Where there is nothing to return to, all stays: no release is worse than a bad one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from onboard.releases.journal import Entry, Journal, Phase

BOOTS_MAX = 2
"""Starts that a release on trial may take; one more, and it is taken back."""
KEPT_FAILED = 20


@dataclass(frozen=True)
class Tried:
    """A new release is about to be switched to."""

    release: str
    counter: int
    promote: bool = False
    health_s: float = 60.0


@dataclass(frozen=True)
class Obeyed:
    """An assignment names what is in force already."""

    counter: int
    promote: bool = False


@dataclass(frozen=True)
class Booted:
    """The machine has started; nothing of ours runs yet."""


@dataclass(frozen=True)
class Ticked:
    """The loop runs, or the bus is why it does not: this start was not brought down."""


@dataclass(frozen=True)
class Proven:
    """It kept every condition for as long as it had to."""


@dataclass(frozen=True)
class Failed:
    """It is to blame, or somebody wants to go back."""

    reason: str


Event = Tried | Obeyed | Booted | Ticked | Proven | Failed


def following(journal: Journal, event: Event, at_s: float) -> Journal:
    """The journal after ``event`` at Unix time ``at_s``; total over all phases and events."""
    if isinstance(event, Failed):
        return _returned(journal, event.reason, at_s)
    if isinstance(event, Obeyed):
        golden = journal.current if event.promote else journal.golden
        return replace(journal, counter=max(journal.counter, event.counter), golden=golden)
    if journal.phase is not Phase.SETTLED:
        return _unproven(journal, event, at_s)
    return _tried(journal, event, at_s) if isinstance(event, Tried) else journal


def _unproven(journal: Journal, event: Tried | Booted | Ticked | Proven, at_s: float) -> Journal:
    """While a release has to prove itself, no other is tried."""
    if isinstance(event, Proven):
        return _proven(journal, at_s)
    if isinstance(event, Ticked):
        return replace(journal, boots=0)
    if isinstance(event, Booted) and journal.boots >= BOOTS_MAX:
        return _returned(journal, f"{BOOTS_MAX + 1} starts without a running loop", at_s)
    return replace(journal, boots=journal.boots + isinstance(event, Booted))


def _tried(journal: Journal, event: Tried, at_s: float) -> Journal:
    if event.release == journal.current:
        return journal
    return replace(
        journal,
        current=event.release,
        previous=journal.current,
        phase=Phase.TRIAL,
        counter=max(journal.counter, event.counter),
        boots=0,
        promote=event.promote,
        health_s=event.health_s,
    ).noting(Entry(at_s, "trial", event.release))


def _proven(journal: Journal, at_s: float) -> Journal:
    failed = {name: n for name, n in journal.failed.items() if name != journal.current}
    return replace(
        journal,
        phase=Phase.SETTLED,
        golden=journal.current if journal.promote else journal.golden,
        boots=0,
        promote=False,
        failed=failed,
    ).noting(Entry(at_s, "proven", journal.current))


def _returned(journal: Journal, reason: str, at_s: float) -> Journal:
    """Back to the previous release, from that one to golden; from golden nowhere."""
    steps = (
        [journal.golden] if journal.phase is Phase.RETURNED else [journal.previous, journal.golden]
    )
    back = next((name for name in steps if name not in ("", journal.current)), "")
    if not back:
        return replace(journal, phase=Phase.SETTLED, boots=0, promote=False).noting(
            Entry(at_s, "nothing to return to", journal.current, reason)
        )
    last = back == journal.golden
    failed = {**journal.failed, journal.current: journal.counter}
    return replace(
        journal,
        current=back,
        previous="" if last else journal.golden,
        phase=Phase.SETTLED if last else Phase.RETURNED,
        boots=0,
        promote=False,
        failed=dict([*failed.items()][-KEPT_FAILED:]),
    ).noting(Entry(at_s, "taken back", journal.current, reason))
