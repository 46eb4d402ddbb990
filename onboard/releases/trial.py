"""Switching to a release and judging it; back to the one before if it is to blame.

The judge is always the program of a release that was in force before. It may be killed at any
instant: the journal says what is in force, :mod:`onboard.releases.guardian` goes by it, and
``wombet-onboard release judge`` goes on.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from onboard.releases.course import Event, Failed, Proven, Ticked, following
from onboard.releases.evidence import (
    ANSWER_S,
    OPEN,
    READY_S,
    Evidence,
    Finding,
    Look,
    Pulse,
    Weight,
)
from onboard.releases.install_steps import Step, Watch, unwatched
from onboard.releases.journal import Journal, Phase, write_journal
from onboard.releases.links import follow, leads_to
from onboard.releases.services import Services
from onboard.releases.standstill import Standstill
from onboard.releases.unit_paths import AGENT, CONTROL, UnitPaths
from protocol.errors import StoreError

LOOK_S = 0.25
GRACE_S = 30.0
"""How much longer than it must a judgement may take before it is left to the judge's service."""
BUS_AGAIN_S = 300.0
"""Between two self-tests by the other release: each stops control for some seconds."""
RETURNED_HEALTH_S = 10.0
"""A release that has proven itself before has less to prove."""


class Trial:
    """Carries out what the course of a unit's releases demands. The caller holds the lock."""

    def __init__(
        self,
        paths: UnitPaths,
        services: Services,
        pulse: Callable[[], Pulse | None],
        clock_s: Callable[[], float],
        wall_s: Callable[[], float],
        sleep: Callable[[float], None],
        at: Watch = unwatched,
    ) -> None:
        """``pulse`` asks control, None if it does not answer; ``clock_s`` is monotonic time,
        ``wall_s`` Unix time.
        """
        self._paths, self._services, self._pulse = paths, services, pulse
        self._clock_s, self._wall_s, self._sleep, self._at = clock_s, wall_s, sleep, at
        self._standstill = Standstill(services, pulse, clock_s, sleep)

    def switch(self, journal: Journal, event: Event) -> Journal:
        """Put what ``event`` brings into force: stop, write down, switch, start.

        Raises:
            StoreError: control does not stop, or the disk refuses.
        """
        try:
            self._services.stop()
            self._at(Step.STOPPED)
            journal = self.note(journal, event)
            self._at(Step.NOTED)
            follow(self._paths, journal)
            self._at(Step.SWITCHED)
        except StoreError:
            self._services.start()  # a robot that stands still helps nobody
            raise
        self._services.start()
        self._at(Step.STARTED)
        return journal

    def resume(self, journal: Journal) -> None:
        """Make links and services what ``journal`` says, after somebody was killed at it.

        Should another release run, because the links refused to follow, it is stopped first.

        Raises:
            StoreError: the disk refuses, or that other release keeps its motors powered.
        """
        behind = not leads_to(self._paths, journal.current)
        try:
            if behind:
                self._stop_another(journal.current)
            behind |= follow(self._paths, journal)
        finally:
            unfinished = behind or journal.phase is not Phase.SETTLED
            if unfinished and self._services.state(CONTROL).stopped:
                self._services.start()

    def _stop_another(self, wanted: str) -> None:
        if self._services.state(CONTROL).stopped:
            return
        if not self._standstill.within(GRACE_S):
            raise StoreError(f"{wanted} is in force but does not run yet: the motors are powered")
        self._services.stop()

    def judge(self, journal: Journal, patient: bool = False) -> tuple[Journal, str]:
        """Watch the release in force until it is proven, taken back, or time is up.

        Args:
            journal: with a release that is not settled.
            patient: wait for as long as it takes for a reason to decide, and for motors without
                torque.

        Returns:
            The journal, and why the first release judged was taken back or is not proven.

        Raises:
            StoreError: the disk refuses.
        """
        first = ""
        while journal.phase is not Phase.SETTLED:
            returned = journal.phase is Phase.RETURNED
            health_s = min(journal.health_s, RETURNED_HEALTH_S if returned else journal.health_s)
            journal, finding = self._watch(journal, health_s, patient)
            first = first or finding.reason
            if finding.weight is Weight.OPEN:
                break
            if finding.weight is Weight.GUILTY and not self._still(patient):
                return journal, f"{first}; it stays while the motors are powered"
            self._at(Step.JUDGED)
            if finding.weight is Weight.PROVEN:
                journal = self.note(journal, Proven())
                follow(self._paths, journal)
            else:
                journal = self.switch(journal, Failed(finding.reason))
            self._at(Step.SETTLED)
        return journal, first

    def _still(self, patient: bool) -> bool:
        return self._standstill.within(math.inf if patient else GRACE_S, ANSWER_S)

    def _watch(self, journal: Journal, health_s: float, patient: bool) -> tuple[Journal, Finding]:
        """PROVEN or GUILTY, or OPEN with what stands in the way."""
        end_s = self._clock_s() + READY_S + health_s + GRACE_S
        asked_s, answered = float("-inf"), False
        evidence, finding = Evidence(health_s, self._clock_s()), OPEN
        while patient or self._clock_s() < end_s:
            finding = evidence.weigh(self._look())
            journal = self._spared(journal, evidence.ticked)
            if finding.weight in (Weight.PROVEN, Weight.GUILTY):
                return journal, finding
            if finding.weight is Weight.BUS and answered:
                return journal, Finding(Weight.GUILTY, finding.reason)
            if finding.weight is Weight.BUS and self._clock_s() - asked_s > BUS_AGAIN_S:
                answered, asked_s = self._bus_answers(journal.previous), self._clock_s()
                evidence = Evidence(health_s, asked_s)
                journal = self._spared(journal, not answered)
            if finding.weight is Weight.BUS and not (answered or patient):
                why = f"{finding.reason}; {journal.previous} does not reach the bus either"
                return journal, Finding(Weight.OPEN, why)
            self._sleep(LOOK_S)
        return journal, Finding(Weight.OPEN, finding.reason or "no verdict in time")

    def _spared(self, journal: Journal, alive: bool) -> Journal:
        """This start of the machine counts no more once it is seen not to bring it down."""
        return self.note(journal, Ticked()) if alive and journal.boots else journal

    def _bus_answers(self, release: str) -> bool:
        """Does it answer another release? Then the one on trial tries once more."""
        try:
            self._services.stop()
            return self._services.bus_answers(release)
        finally:
            self._services.start()

    def _look(self) -> Look:
        state = self._services.state
        return Look(self._clock_s(), state(CONTROL), state(AGENT), self._pulse())

    def note(self, journal: Journal, event: Event) -> Journal:
        """The journal after ``event``, durably. Raises StoreError."""
        journal = following(journal, event, self._wall_s())
        write_journal(self._paths, journal)
        return journal
