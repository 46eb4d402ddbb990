"""Fetches announced bundles in a worker thread, one update at a time."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

from onboard.bundle_fetcher import ServerFetcher
from onboard.bundle_store import BundleStore, Update
from onboard.version_floor import Floor
from protocol.errors import BundleError

RETRY_MIN_S = 1.0
RETRY_MAX_S = 30.0


class Courier:
    """Between the agent's main thread, which decides and remembers, and the store.

    Attributes:
        trouble: why the last update failed; empty if it did not.
    """

    def __init__(self, store: BundleStore, fetcher: ServerFetcher) -> None:
        self._store = store
        self._fetcher = fetcher
        self._worker = ThreadPoolExecutor(1, "bundles")
        self._update: Future[Update] | None = None
        self._announced = 0
        self._pause_s = RETRY_MIN_S
        self._not_before_s = float("-inf")
        self.trouble = ""

    def step(self, now_s: float, announced: int, floor: Floor) -> Update | None:
        """Start an update if ``announced`` is not held, and collect a finished one.

        Args:
            now_s: monotonic time.
            announced: newest version the server speaks of.
            floor: below it nothing is accepted.

        Returns:
            A finished update, once; its floor is to be remembered before its bundle is used.
        """
        if announced != self._announced:
            self._announced, self._not_before_s = announced, now_s
            self._pause_s = RETRY_MIN_S
        if self._update is None:
            if announced > max(self._store.held(), default=0) and now_s >= self._not_before_s:
                self._update = self._worker.submit(self._store.update, floor)
            return None
        if not self._update.done():
            return None
        finished, self._update = self._update, None
        self._not_before_s = now_s + self._pause_s
        self._pause_s = min(2.0 * self._pause_s, RETRY_MAX_S)
        return self._outcome(finished)

    def close(self) -> None:
        """Cut a running download short and end the thread."""
        self._fetcher.cancel()
        self._worker.submit(self._fetcher.close)
        self._worker.shutdown(wait=True)

    def _outcome(self, finished: Future[Update]) -> Update | None:
        try:
            update = finished.result()
        except BundleError as error:
            self.trouble = str(error)
            return None
        except Exception as error:  # parsers met foreign bytes; streaming must go on
            self.trouble = f"update failed: {type(error).__name__}: {error}"
            return None
        self.trouble = ""
        return update
