"""The agent's part in releases: look what is assigned, fetch it, lay it down for root.

It needs no rights and gets none. A download that is cut off goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from onboard.bundle_fetcher import ServerFetcher
from onboard.event_log import EventLog
from onboard.releases.assignment import is_new
from onboard.releases.depot import Depot
from onboard.releases.inbox import Inbox
from onboard.releases.journal import Phase, recalled_journal
from onboard.releases.unit_paths import UnitPaths
from onboard.update_client import UpdateClient
from onboard.wall_clock import WallClock
from protocol.errors import BundleError, StoreError

LOOK_S = 60.0
FIRST_LOOK_S = 10.0
"""After the start: what is more urgent goes first."""
STATE_RESERVE_BYTES = 256 << 20
"""What a release leaves free for records and policies."""
OFFERED_EVERY = 8
"""Looks between two offers of what root keeps refusing: each has it unpack a whole release."""
_CLIENT = "releases"


class Delivery:
    """One look, and what follows from it. Used by one thread."""

    def __init__(self, unit: str, paths: UnitPaths, depot: Depot, lists: UpdateClient) -> None:
        """``depot`` is the server's; ``lists`` is its update client."""
        self._unit, self._paths, self._depot, self._lists = unit, paths, depot, lists
        self._inbox = Inbox(paths.inbox)
        self._ready = (0, 0)

    def __call__(self) -> str:
        """The release that lies ready for root; empty if there is nothing to do.

        Raises:
            BundleError: not reachable, not believed, nothing assigned, or no room.
            StoreError: the disk refuses.
        """
        journal = recalled_journal(self._paths)[0]
        if journal.phase is not Phase.SETTLED:  # should its judge be gone, root begins again
            self._inbox.remind(journal.current)
            return ""
        assignment = self._depot.assignment(self._unit)
        if not is_new(assignment, journal):
            self._inbox.keep_archive()
            return ""
        archive = self._inbox.archive(self._depot.served(assignment.line))
        self._inbox.keep_archive(archive)
        self._depot.fetch(assignment.line, archive, STATE_RESERVE_BYTES)
        if self._to_offer(assignment.counter):
            self._inbox.offer(assignment, self._depot.assignments, self._lists.served())
        return assignment.line.release

    def _to_offer(self, counter: int) -> bool:
        """At the looks 1, 2, 4, 8 that find assignment ``counter`` ready, then at every 8th."""
        before, looks = self._ready
        looks = looks + 1 if before == counter else 1
        self._ready = counter, looks
        return looks % OFFERED_EVERY == 0 or looks.bit_count() == 1


def delivery_over(
    fetcher: ServerFetcher, unit: str, paths: UnitPaths, state: Path, clock: WallClock
) -> Delivery:
    """Deliveries from the server that ``fetcher`` asks, by the trust in ``state``."""
    own = state / _CLIENT
    client = UpdateClient(state / "tuf" / "root.json", own / "tuf", fetcher, clock)
    depot = Depot(client, fetcher.rest, own / "version_floor")
    return Delivery(unit, paths, depot, client)


class Puller:
    """Has a delivery made once a minute, in a thread of its own."""

    def __init__(
        self,
        deliver: Callable[[], str],
        fetcher: ServerFetcher,
        log: EventLog,
        random: Callable[[], float],
    ) -> None:
        """``fetcher`` is what ``deliver`` uses; ``random`` in [0, 1) keeps fleets from asking all
        at once.
        """
        self._deliver, self._fetcher, self._log, self._random = deliver, fetcher, log, random
        self._worker = ThreadPoolExecutor(1, "releases")
        self._running: Future[str] | None = None
        self._due_s: float | None = None

    def step(self, now_s: float) -> None:
        """Start a look that is due, and tell of one that is over."""
        if self._due_s is None:
            self._due_s = now_s + FIRST_LOOK_S * (0.5 + self._random())
        if self._running is None and now_s >= self._due_s:
            self._running = self._worker.submit(self._deliver)
        elif self._running is not None and self._running.done():
            finished, self._running = self._running, None
            self._due_s = now_s + LOOK_S * (0.5 + self._random())
            self._tell(finished)

    def close(self) -> None:
        """Cut a running download short and end the thread."""
        self._fetcher.cancel()
        self._worker.submit(self._fetcher.close)
        self._worker.shutdown(wait=True)

    def _tell(self, finished: Future[str]) -> None:
        try:
            delivered, trouble = finished.result(), ""
        except (BundleError, StoreError) as error:
            delivered, trouble = "", str(error)
        except Exception as error:  # parsers met foreign bytes; streaming must go on
            delivered, trouble = "", f"release not taken: {type(error).__name__}: {error}"
        self._log.state("release_delivered", delivered)
        self._log.state("release_trouble", trouble)
