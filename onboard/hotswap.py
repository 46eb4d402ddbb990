"""The swap transaction: from an offered directory to the policy that drives, and back if it is bad.

::

    candidate   FREE ─offer─▶ STAGING ─verified─▶ PENDING ─tick boundary─▶ FREE, and it drives
                  ◀─────────────┘ rejected
    driver      on probation ─N episodes, compared with the committed one─▶ committed
                  └─ bad or far worse: rolled back to the last committed one

Verified means: sizes, hashes, manifest against this robot, version above the floor, graph rules,
weights, golden vectors and the time of an answer in the candidate's own slot. A failed step leaves
the running policy untouched. A newer candidate may take over from a driver on probation: then the
committed policy before both stays the one to return to. A first policy has no incumbent and is
committed at once.

Three threads meet here without a lock, because each phase may be left by one of them only: FREE
by the socket thread (:meth:`HotSwap.offer`), STAGING by the stager (:meth:`HotSwap.stage`), PENDING
by the control loop, which alone knows of probation.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import queue
import time
from collections import deque
from collections.abc import Callable
from enum import Enum, auto
from pathlib import Path

from onboard.control_api import BUSY, GRAPH_FILE, MANIFEST_FILE, WEIGHTS_FILE, Done, Offer
from onboard.graph_check import check_graph
from onboard.policy import Sessions, Slot, ready_slot
from onboard.probation import NOTHING, PROBATION_EPISODES, Verdict, complaint
from onboard.weights_check import check_weights
from protocol.bundle import (
    GRAPH_MAX_BYTES,
    MANIFEST_MAX_BYTES,
    WEIGHTS_MAX_BYTES,
    Manifest,
    check_manifest,
    decode_manifest,
)
from protocol.errors import BundleError
from protocol.messages import PolicyEvent
from protocol.observation import Layout
from protocol.robot_spec import RobotSpec

KEPT_EVENTS = 64
INFERENCE_SHARE = 0.5
"""Of a tick: what is left belongs to the bus. Source: hw_configs, bus.read_timeout_s."""


class Phase(Enum):
    """Where a candidate is."""

    FREE = auto()
    STAGING = auto()
    PENDING = auto()


class HotSwap:
    """Owns the policy slots of one robot and task.

    Attributes:
        active: the policy that drives, if any.
        previous: the last committed policy before it: what :meth:`roll_back` returns to.
        events: the last outcomes, oldest first.
    """

    def __init__(
        self, spec: RobotSpec, task: str, clock_ns: Callable[[], int] = time.perf_counter_ns
    ) -> None:
        self._spec, self._task, self._clock_ns = spec, task, clock_ns
        self._layout = Layout(spec)
        self._sessions = Sessions()
        self._offers: queue.SimpleQueue[Offer | None] = queue.SimpleQueue()
        self._phase = Phase.FREE
        self._floor = 0
        self._candidate: Slot | None = None
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

    # The socket thread.

    def offer(self, offer: Offer) -> Done:
        """Take an offer for staging, or say why not; returns at once."""
        if offer.version == self.active_version:
            return Done(ok=True, detail="already active")
        if self._phase is not Phase.FREE:
            return Done(ok=False, detail=f"{BUSY}: a candidate is in {self._phase.name.lower()}")
        self._phase = Phase.STAGING
        self._offers.put(offer)
        return Done(ok=True, detail="staging")

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
        self._retired.clear()
        try:
            self._candidate = self._load(offer)
        except BundleError as error:
            self._reject(offer, str(error))
        except Exception as error:  # parsers met foreign bytes; the next offer must find a stager
            self._reject(offer, f"cannot be staged: {type(error).__name__}: {error}")
        else:
            self._phase = Phase.PENDING

    def _reject(self, offer: Offer, reason: str) -> None:
        self._tell(offer.version, "rejected", reason)
        self._phase = Phase.FREE

    def _load(self, offer: Offer) -> Slot:
        directory = Path(offer.directory)
        manifest = decode_manifest(_read(directory / MANIFEST_FILE, MANIFEST_MAX_BYTES))
        if manifest.version != offer.version:
            raise BundleError(f"bundle {manifest.version} was offered as {offer.version}")
        golden = check_manifest(manifest, self._spec, self._task, self._floor)
        graph, weights = _files(directory, manifest)
        tensors = check_weights(weights, check_graph(graph, self._layout))
        session = self._sessions.session(manifest.graph_sha256, graph)
        slot = ready_slot(session, tensors, self._layout, manifest, golden)
        took_s, budget_s = slot.time(golden.obs[0], self._clock_ns), self._spec.tick_s
        if took_s > INFERENCE_SHARE * budget_s:
            raise BundleError(
                f"bundle {manifest.version} takes {1e3 * took_s:.1f} ms to answer; a tick of "
                f"{1e3 * budget_s:.1f} ms leaves it {1e3 * INFERENCE_SHARE * budget_s:.1f} ms"
            )
        return slot

    # The control loop.

    def flip(self) -> bool:
        """At a tick boundary: let a pending candidate drive from this tick on."""
        if self._phase is not Phase.PENDING or self._candidate is None:
            return False
        outgoing = self.active if self._on_probation else self.previous
        if outgoing is not None:
            self._retired.append(outgoing)  # freed by the stager, not in a tick
        if not self._on_probation:
            self.previous, self._committed_record = self.active, self._record
        self.active, self._candidate = self._candidate, None
        self._floor = self.active.version
        self._tell(self.active.version, "activated")
        self._on_probation, self._record = True, NOTHING
        self._phase = Phase.FREE
        if self.previous is None:
            self._commit("first policy")
        return True

    def episode_completed(self, verdict: Verdict) -> None:
        """An episode ended by itself; enough of them end a probation, one way or the other."""
        self._record = self._record.plus(verdict)
        if not self._on_probation or self._record.episodes < PROBATION_EPISODES:
            return
        reason = complaint(self._record, self._committed_record)
        if reason:
            self.roll_back(f"probation: {reason}")
        else:
            self._commit(f"after {PROBATION_EPISODES} episodes")

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
            self._tell(self.active.version, "rolled_back", reason)
        self.active, self.previous, self._on_probation = self.previous, None, False
        self._record, self._committed_record = self._committed_record, NOTHING
        return self.active is not None

    def _commit(self, reason: str) -> None:
        self._on_probation = False
        self._tell(self.active_version, "committed", reason)

    def _tell(self, version: int, outcome: str, reason: str = "") -> None:
        self.counts[outcome] += 1
        self.events.append(
            PolicyEvent(
                number=next(self._numbers), version=version, outcome=outcome, reason=reason[:1024]
            )
        )


def _files(directory: Path, manifest: Manifest) -> tuple[bytes, bytes]:
    """Graph and weights; the bytes that are hashed are the bytes that are loaded."""
    graph = _read(directory / GRAPH_FILE, GRAPH_MAX_BYTES)
    weights = _read(directory / WEIGHTS_FILE, WEIGHTS_MAX_BYTES)
    claims = (
        (GRAPH_FILE, graph, manifest.graph_sha256),
        (WEIGHTS_FILE, weights, manifest.weights_sha256),
    )
    for name, data, claimed in claims:
        if hashlib.sha256(data).hexdigest() != claimed:
            raise BundleError(f"bundle {manifest.version}: {name} is not the file of the manifest")
    return graph, weights


def _read(path: Path, limit: int) -> bytes:
    """The file, in memory of its size: a buffer of ``limit`` bytes would stall a locked process."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            data = file.read(min(size, limit) + 1)
    except OSError as error:
        raise BundleError(f"{path}: cannot be read ({error})") from error
    if len(data) > limit:
        raise BundleError(f"{path} exceeds the cap of {limit} bytes")
    return data
