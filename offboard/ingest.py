"""The thread that serves robots: door → reception → answers, then the records to whoever learns."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import zmq

from offboard.door import Door
from offboard.episode_store import EpisodeStore
from offboard.key_table import KeyTable
from offboard.keys import ServerKeys
from offboard.reception import Reception, unheeded
from offboard.stop_list import StopList
from protocol.messages import Report
from protocol.robot_spec import RobotSpec
from protocol.step_record import Rows

DEFAULT_ENDPOINT = "tcp://127.0.0.1:5571"
_POLL_MS = 100


class Ingest:
    """Serves robots until told to stop; its attributes may be read by other threads.

    Attributes:
        ready: set while it listens.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        keys: ServerKeys,
        table: KeyTable,
        store: EpisodeStore,
        spec: RobotSpec,
        repository: Path,
        on_rows: Callable[[str, Rows], None],
        endpoint: str = DEFAULT_ENDPOINT,
        stops: StopList | None = None,
        on_report: Callable[[str, Report], None] = unheeded,
    ) -> None:
        """``context`` serves one Ingest only; see :class:`offboard.door.Door`.

        ``on_rows(robot, rows)`` is called after each commit, in the serving thread; an exception
        from it ends :meth:`serve`; so with ``on_report(robot, report)`` for each report. ``stops``
        names robots that shall stop.
        """
        self._door = Door(context, keys.curve_secret, table, endpoint)
        self._stops = StopList() if stops is None else stops
        self._reception = Reception(
            store, spec, repository, self._stops.reason_for, on_report=on_report
        )
        self._on_rows = on_rows
        self.ready = threading.Event()

    def serve(self, stop: threading.Event) -> None:
        """Listen until ``stop`` is set.

        Raises:
            ConfigError: the endpoint cannot be bound.
        """
        self._door.open()
        try:
            self.ready.set()
            while not stop.is_set():
                self._stops.refresh()
                outcome = self._reception.take(self._door.arrivals(_POLL_MS))
                for reply in outcome.replies:
                    self._door.send(*reply)
                for committed in outcome.committed:
                    self._on_rows(*committed)
        finally:
            self.ready.clear()
            self._door.close()

    @property
    def endpoint(self) -> str:
        """Where it listens; once ``ready``, with the port really bound."""
        return self._door.endpoint

    @property
    def policy_version(self) -> int:
        """Newest published bundle; set it to announce one to every robot."""
        return self._reception.policy_version

    @policy_version.setter
    def policy_version(self, version: int) -> None:
        self._reception.policy_version = version

    @property
    def reports(self) -> dict[str, Report]:
        """Latest report of each robot."""
        return self._reception.reports

    def stop_reason(self, robot: str) -> str:
        """Why the operator wants ``robot`` stopped; empty if it need not."""
        return self._stops.reason_for(robot)

    @property
    def refusals(self) -> Counter[str]:
        """Handshakes and messages refused since the start, by reason."""
        counts = (dict(self._door.refusals), dict(self._reception.refusals))  # copied at once
        return Counter(counts[0]) + Counter(counts[1])

    @property
    def committed(self) -> int:
        """Records committed since the start."""
        return self._reception.records

    @property
    def duplicates(self) -> int:
        """Entries that came again since the start and were acknowledged again."""
        return self._reception.duplicates

    @property
    def clock_steps_back(self) -> int:
        """How often a robot's clock ran backwards since the start."""
        return self._reception.clocks.steps_back
