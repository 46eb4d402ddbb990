"""The swap transaction: from an offered directory to the policy that drives, and back if it is bad.

::

    candidate   FREE ─offer─▶ STAGING ─verified─▶ PENDING ─tick boundary─▶ FREE, and it drives
                  ◀─────────────┘ rejected
    operator    FREE ─go back─▶ RETURNING ─tick boundary─▶ FREE, and the one before drives
    driver      on probation ─N episodes, compared with the committed one─▶ committed
                  └─ bad or far worse: rolled back to the last committed one

Verified means: sizes, hashes, manifest against this robot, version above the floor, graph rules,
weights, golden vectors and the time of an answer in the candidate's own slot. A failed step leaves
the running policy untouched; a process killed at any step starts again with the last policy that
the ledger names. A newer candidate may take over from a driver on probation: then the committed
policy before both stays the one to return to. A first policy has no incumbent and is committed at
once; so is one that was committed before, for which the floor does not count: the signed list may
forbid to *accept* an old version, not to return to one that is held.

Three threads meet here without a lock, because each phase may be left by one of them only: FREE
by the socket thread (:meth:`HotSwap.offer`, :meth:`HotSwap.go_back`), STAGING by the stager
(:meth:`HotSwap.stage`), PENDING and RETURNING by the control loop, which alone knows of probation.
"""

from __future__ import annotations

import itertools
import queue
import time
from collections import deque
from collections.abc import Callable
from enum import Enum, auto

from onboard.backends import onnx_runtime
from onboard.backends.port import Build
from onboard.control_api import BUSY, HELD_BACK, RETURNING, STAGING, Done, Offer
from onboard.ledger import Ledger
from onboard.policy import Slot
from onboard.probation import NOTHING, PROBATION_EPISODES, Verdict, complaint
from onboard.staging import Stager
from onboard.swap_steps import Step, Watch, unwatched
from protocol.errors import BundleError
from protocol.messages import PolicyEvent
from protocol.robot_spec import RobotSpec

KEPT_EVENTS = 64


class Phase(Enum):
    """Where a candidate is."""

    FREE = auto()
    STAGING = auto()
    PENDING = auto()
    RETURNING = auto()


class HotSwap:
    """Owns the policy slots of one robot and task.

    Attributes:
        active: the policy that drives, if any.
        previous: the last committed policy before it: what :meth:`roll_back` returns to.
        ledger: what was committed, and what is pinned.
        events: the last outcomes, oldest first.
    """

    def __init__(
        self,
        spec: RobotSpec,
        task: str,
        clock_ns: Callable[[], int] = time.perf_counter_ns,
        build: Build = onnx_runtime.build,
        ledger: Ledger | None = None,
        at: Watch = unwatched,
    ) -> None:
        """``build`` is the backend; ``at`` is called after every step of a swap."""
        self.ledger = Ledger() if ledger is None else ledger
        self._stager, self._at = Stager(spec, task, clock_ns, build, at), at
        self._offers: queue.SimpleQueue[Offer | None] = queue.SimpleQueue()
        self._phase = Phase.FREE
        self._floor = 0
        self._candidate: Slot | None = None
        self._dropping = False
        self._retired: deque[Slot] = deque()
        self._on_probation = False
        self._record = self._committed_record = NOTHING
        self.active: Slot | None = None
        self.previous: Slot | None = None
        self._numbers = itertools.count(1)
        self.events: deque[PolicyEvent] = deque(maxlen=KEPT_EVENTS)
        self.counts = dict.fromkeys(("activated", "committed", "rejected", "rolled_back"), 0)

    @property
    def active_version(self) -> int:
        """Version that drives; 0 if none."""
        return 0 if self.active is None else self.active.version

    # Before the threads start.

    def restore(self) -> None:
        """Load the policy that the ledger names: the pinned one, or else the last committed."""
        record = self.ledger.record
        self._floor = max(record.versions, default=0)
        pinned = [kept for kept in record.committed if kept.version == record.pinned]
        for kept in pinned or reversed(record.committed):
            self.stage(Offer(version=kept.version, directory=kept.directory))
            if self._phase is Phase.PENDING:
                return

    # The socket thread.

    def offer(self, offer: Offer) -> Done:
        """Take an offer for staging, or say why not; returns at once."""
        if offer.version == self.active_version:
            return Done(ok=True, detail="already active")
        if (pinned := self.ledger.record.pinned) not in (0, offer.version):
            return Done(ok=False, detail=f"{HELD_BACK}: this robot is pinned to policy {pinned}")
        if offer.version in self.ledger.record.condemned:
            return Done(ok=False, detail=f"policy {offer.version} was rolled back here; pin forces")
        return self._take(offer)

    def go_back(self) -> Done:
        """Drop the active policy as bad, for the last committed one before it; returns at once."""
        if (pinned := self.ledger.record.pinned) != 0:
            return Done(ok=False, detail=f"this robot is pinned to policy {pinned}; unpin it first")
        if self._phase is not Phase.FREE:
            return self._busy()
        if self.previous is not None:
            self._phase = Phase.RETURNING
            return Done(ok=True, detail=RETURNING)
        active = self.active_version
        older = [kept for kept in self.ledger.record.committed if not 0 < active <= kept.version]
        if not older:
            return Done(ok=False, detail="no earlier committed policy is held")
        found = Offer(version=older[-1].version, directory=older[-1].directory)
        return self._take(found, dropping=True)

    def pin(self, offer: Offer) -> Done:
        """Let ``offer`` drive, and no other until the pin is lifted; returns at once."""
        if offer.version <= self._floor and not self._is_proven(offer.version):
            return Done(
                ok=False,
                detail=f"policy {offer.version} was never committed here and is not newer than "
                f"version {self._floor}; pin one of {self.ledger.record.versions}",
            )
        taken = Done(ok=True, detail="already active")
        if offer.version != self.active_version:
            taken = self._take(offer)
        if taken.ok:
            self.ledger.pin(offer.version)
        return taken

    def _take(self, offer: Offer, dropping: bool = False) -> Done:
        if self._phase is not Phase.FREE:
            return self._busy()
        self._phase, self._dropping = Phase.STAGING, dropping
        self._offers.put(offer)
        self._at(Step.TAKEN)
        return Done(ok=True, detail=STAGING)

    def _busy(self) -> Done:
        return Done(ok=False, detail=f"{BUSY}: a candidate is in {self._phase.name.lower()}")

    # The stager thread.

    def stage_forever(self) -> None:
        """Stage offers as they come, until :meth:`close`."""
        while (offer := self._offers.get()) is not None:
            self.stage(offer)

    def close(self) -> None:
        """Let :meth:`stage_forever` return after the offer in work."""
        self._offers.put(None)

    def stage(self, offer: Offer) -> None:
        """Verify and load one offered bundle; it becomes pending or is rejected."""
        while self._retired:
            self._retired.popleft().close()
        floor = 0 if self._is_proven(offer.version) else self._floor
        try:
            self._candidate = self._stager.load(offer, floor)
        except BundleError as error:
            self._reject(offer, str(error))
        except Exception as error:  # parsers met foreign bytes; the next offer must find a stager
            self._reject(offer, f"cannot be staged: {type(error).__name__}: {error}")
        else:
            self._phase = Phase.PENDING

    def _is_proven(self, version: int) -> bool:
        return version in self.ledger.record.versions

    def _reject(self, offer: Offer, reason: str) -> None:
        self._tell(offer.version, "rejected", reason)
        self._phase = Phase.FREE

    # The control loop.

    def flip(self) -> bool:
        """At a tick boundary: let a pending candidate, or the policy before, drive from now on."""
        if self._phase is Phase.RETURNING:
            returning = self.previous is not None  # else the loop was first
            if returning:
                self.roll_back("by the operator")
            self._phase = Phase.FREE
            return returning
        if self._phase is not Phase.PENDING or self._candidate is None:
            return False
        self._install(self._candidate)
        self._phase = Phase.FREE
        return True

    def _install(self, slot: Slot) -> None:
        self._make_room(slot.version)
        self.active, self._candidate = slot, None
        self._floor = max(self._floor, slot.version)
        self._tell(slot.version, "activated")
        self._on_probation, self._record = True, NOTHING
        self._at(Step.DRIVES)
        if self._is_proven(slot.version):
            self._commit(slot, "committed before")
        elif self.previous is None:
            self._commit(slot, "first policy")

    def episode_completed(self, verdict: Verdict) -> None:
        """An episode ended by itself; enough of them end a probation, one way or the other."""
        self._judge(verdict)
        if self.active is None or not self._on_probation:
            return
        if self._record.episodes >= PROBATION_EPISODES:
            self._commit(self.active, f"after {PROBATION_EPISODES} episodes")

    def episode_aborted(self, verdict: Verdict) -> None:
        """Motors or bus ended an episode: counted, and no reason to commit."""
        self._judge(verdict.cut_short())

    def _judge(self, verdict: Verdict) -> None:
        """Add an episode to the record; a policy on probation is dropped for it if it must go."""
        self._record = self._record.plus(verdict)
        if not self._on_probation or self._record.begun < PROBATION_EPISODES:
            return
        if reason := complaint(self._record, self._committed_record):
            self.roll_back(f"probation: {reason}")

    def fail_probation(self, reason: str) -> bool:
        """Something that no sound policy causes happened; was a policy dropped for it?"""
        if not self._on_probation:
            return False
        self.roll_back(f"on probation: {reason}")
        return True

    def roll_back(self, reason: str) -> bool:
        """Drop the active policy as bad; False if none is left to drive."""
        if self.active is not None:
            self._retired.append(self.active)
            self._condemn(self.active, reason)
        self.active, self.previous, self._on_probation = self.previous, None, False
        self._record, self._committed_record = self._committed_record, NOTHING
        return self.active is not None

    def _make_room(self, version: int) -> None:
        """The last committed policy stays to return to, if sound and older than the newcomer."""
        kept, record = self.active, self._record
        if self._on_probation:
            kept, record = self.previous, self._committed_record
        if self._dropping and self.active is not None:
            self._condemn(self.active, "by the operator")
        if kept is None or self._dropping or kept.version >= version:
            kept, record = None, NOTHING
        for slot in (self.active, self.previous):
            if slot is not None and slot is not kept:
                self._retired.append(slot)  # closed by the stager, not in a tick
        self.previous, self._committed_record, self._dropping = kept, record, False

    def _condemn(self, slot: Slot, reason: str) -> None:
        self.ledger.drop(slot.version)
        self._tell(slot.version, "rolled_back", reason)

    def _commit(self, slot: Slot, reason: str) -> None:
        self._on_probation = False
        self._tell(slot.version, "committed", reason)
        self._at(Step.JUDGED)
        self.ledger.commit(slot.version, slot.directory)

    def _tell(self, version: int, outcome: str, reason: str = "") -> None:
        self.counts[outcome] += 1
        self.events.append(
            PolicyEvent(
                number=next(self._numbers), version=version, outcome=outcome, reason=reason[:1024]
            )
        )
