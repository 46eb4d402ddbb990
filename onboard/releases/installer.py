"""What root does with releases: install what is assigned, go back, clear up. One at a time.

Nothing changes before the release lies on the disk, whole, and the motors have no torque.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from onboard.releases.assignment import Assignment, is_new, taken_back
from onboard.releases.course import Failed, Obeyed, Tried, following
from onboard.releases.depot import Depot
from onboard.releases.evidence import Pulse
from onboard.releases.install_steps import Step, Watch, unwatched
from onboard.releases.journal import Journal, Phase, recalled_journal
from onboard.releases.links import sweep
from onboard.releases.lock import BusyError, locked
from onboard.releases.report import Report, Verdict
from onboard.releases.services import Services
from onboard.releases.standstill import Standstill
from onboard.releases.stock import Stock
from onboard.releases.trial import Trial
from onboard.releases.unit_paths import UnitPaths
from protocol.errors import StoreError, WombetError

_SUCCESSION_S = 60.0
"""The judge waits for whoever has called it to be gone."""


@dataclass(frozen=True)
class Installer:
    """Everything it needs comes from outside.

    Attributes:
        unit: who this is.
        paths: where everything lies.
        services: systemd.
        trial: switches and judges.
        pulse: asks control, None if it does not answer.
        clock_s: monotonic time.
        sleep: waits.
        at: gets the steps.
        flush: forces everything written so far to the disk.
    """

    unit: str
    paths: UnitPaths
    services: Services
    trial: Trial
    pulse: Callable[[], Pulse | None]
    clock_s: Callable[[], float]
    sleep: Callable[[float], None]
    at: Watch = unwatched
    flush: Callable[[], None] = os.sync

    @property
    def stock(self) -> Stock:
        """The releases on the disk."""
        return Stock(self.paths, self.at, self.flush)

    def install(self, depot: Depot, health_s: float, wait_s: float) -> Report:
        """Install what is assigned to this unit.

        Args:
            depot: where assignments and releases come from.
            health_s: how long the release has to run without trouble.
            wait_s: how long to wait for motors without torque.
        """
        return self._alone(lambda journal: self._install(journal, depot, health_s, wait_s))

    def roll_back(self, wait_s: float) -> Report:
        """Go back to the release before, as an operator wants."""
        return self._alone(lambda journal: self._roll_back(journal, wait_s))

    def judge(self) -> Report:
        """Go on judging a release whose judge was cut short, until it is decided."""
        return self._alone(
            lambda journal: self._judged(journal, journal, patient=True), _SUCCESSION_S
        )

    def prune(self) -> list[str]:
        """Remove releases that nobody needs; returns their names.

        Raises:
            StoreError: somebody else is at it, or there is no current release.
        """
        try:
            with locked(self.paths, 0.0, self.clock_s, self.sleep):
                return self.stock.prune(recalled_journal(self.paths)[0])
        except BusyError as error:
            raise StoreError("an install is under way; try again when it is done") from error

    def _alone(self, act: Callable[[Journal], Report], wait_s: float = 0.0) -> Report:
        before = recalled_journal(self.paths)[0]
        try:
            with locked(self.paths, wait_s, self.clock_s, self.sleep):
                journal = recalled_journal(self.paths)[0]
                sweep(self.paths)
                self.trial.resume(journal)
                return act(journal)
        except BusyError:
            return self._report(before, before, "busy", "somebody else is at it")

    def _install(self, journal: Journal, depot: Depot, health_s: float, wait_s: float) -> Report:
        before = journal
        try:
            if journal.phase is not Phase.SETTLED:
                journal, why = self.trial.judge(journal)
                if journal.phase is not Phase.SETTLED:
                    return self._unproven(before, journal, why)
            assignment = self._assignment(depot)
            if why := taken_back(assignment, journal):
                return self._report(before, journal, "rolled_back", why)
            if not is_new(assignment, journal):
                obeyed = Obeyed(assignment.counter, assignment.line.golden)
                journal = self.trial.note(journal, obeyed)
                self.trial.resume(journal)
                return self._report(before, journal, "already")
            line = assignment.line
            self.stock.prune(journal, line.release)
            if not self.stock.place(depot, line):
                self.stock.check(line)
            if not self._still(wait_s):
                return self._report(before, journal, "unsafe", "the motors are powered")
        except WombetError as error:
            return self._report(before, journal, "refused", str(error))
        return self._switched(
            journal, Tried(line.release, assignment.counter, line.golden, health_s), before
        )

    def _assignment(self, depot: Depot) -> Assignment:
        assignment = depot.assignment(self.unit)
        self.at(Step.LISTED)
        return assignment

    def _roll_back(self, journal: Journal, wait_s: float) -> Report:
        event = Failed("an operator went back")
        back = following(journal, event, 0.0).current
        if back == journal.current or not self.paths.usable(back):
            return self._report(journal, journal, "refused", "there is nothing to return to")
        if not self._still(wait_s):
            return self._report(journal, journal, "unsafe", "the motors are powered")
        return self._switched(journal, event, journal)

    def _switched(self, journal: Journal, event: Tried | Failed, before: Journal) -> Report:
        try:
            return self._judged(self.trial.switch(journal, event), before)
        except StoreError as error:
            found = recalled_journal(self.paths)[0]
            if found.current == journal.current:
                return self._report(before, found, "refused", str(error))
            return self._unproven(before, found, str(error))

    def _judged(self, journal: Journal, before: Journal, patient: bool = False) -> Report:
        if journal.phase is Phase.SETTLED and journal.current == before.current:
            return self._report(before, journal, "already")
        tried = journal.pending
        journal, why = self.trial.judge(journal, patient)
        if journal.phase is not Phase.SETTLED:
            return self._unproven(before, journal, why)
        self.stock.prune(journal)
        if tried != journal.current:
            return self._report(before, journal, "rolled_back", why)
        return self._report(before, journal, "installed")

    def _unproven(self, before: Journal, journal: Journal, why: str) -> Report:
        self.services.go_on_judging()
        return self._report(before, journal, "unproven", why)

    def _still(self, wait_s: float) -> bool:
        """The last thing asked before control is stopped: hashing a release takes seconds."""
        return Standstill(self.services, self.pulse, self.clock_s, self.sleep).within(wait_s)

    def _report(
        self, before: Journal, after: Journal, verdict: Verdict, reason: str = ""
    ) -> Report:
        return Report(self.unit, before.current, after.current, verdict, reason)
