"""Takes what robots stream and answers after the commit; hands out update files.

Delivery: accept only ``last + 1`` per robot and epoch, commit, then acknowledge. A robot's name is
that of its key, never of a message. Source: FLEET.md § 3.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import zmq

from offboard.door import Arrival, Door
from offboard.episode_store import Delivery, EpisodeStore
from offboard.intake import Entry, Intake, admit
from offboard.key_table import KeyTable
from offboard.keys import ServerKeys
from offboard.update_files import read_chunk
from protocol.errors import StoreError, WireError
from protocol.messages import (
    Ack,
    Batch,
    Fetch,
    Gap,
    Hello,
    Refused,
    Report,
    ToServer,
    decode_to_server,
)
from protocol.robot_spec import RobotSpec
from protocol.step_record import Rows

DEFAULT_ENDPOINT = "tcp://127.0.0.1:5571"
_POLL_MS = 100
_REASON_MAX_CHARS = 1024


class _Stream(NamedTuple):
    robot: str
    epoch: str


class Ingest:
    """Serves robots until told to stop.

    Attributes:
        ready: set while it listens.
        policy_version: newest published bundle; announced with every acknowledgement.
        reports: latest report of each robot.
        committed: records committed since the start.
        duplicates: entries that came again and were acknowledged again.
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
    ) -> None:
        """``context`` serves one Ingest only; see :class:`offboard.door.Door`.

        ``on_rows(robot, rows)`` is called after each commit, in the serving thread; an exception
        from it ends :meth:`serve`.
        """
        self._door = Door(context, keys.curve_secret, table, endpoint)
        self._store = store
        self._digest = spec.digest()
        self._repository = repository
        self._on_rows = on_rows
        self._epochs: dict[str, str] = {}
        self.ready = threading.Event()
        self.policy_version = 0
        self.reports: dict[str, Report] = {}
        self.committed = 0
        self.duplicates = 0

    @property
    def endpoint(self) -> str:
        """Where it listens; once ``ready``, with the port really bound."""
        return self._door.endpoint

    @property
    def refusals(self) -> Counter[str]:
        """Handshakes and messages refused since the start, by reason."""
        return self._door.refusals

    def serve(self, stop: threading.Event) -> None:
        """Listen until ``stop`` is set.

        Raises:
            ConfigError: the endpoint cannot be bound.
        """
        self._door.open()
        try:
            self.ready.set()
            while not stop.is_set():
                self._take(self._door.arrivals(_POLL_MS))
        finally:
            self.ready.clear()
            self._door.close()

    def _take(self, arrivals: list[Arrival]) -> None:
        """Answer questions at once; data of all robots goes into one transaction."""
        routes: dict[_Stream, bytes] = {}
        data: dict[_Stream, list[Entry]] = {}
        for arrival in arrivals:
            message = self._decoded(arrival)
            if isinstance(message, (Batch, Gap)):
                stream = _Stream(arrival.robot, message.epoch)
                routes[stream] = arrival.route
                data.setdefault(stream, []).append(message)
            elif message is not None:
                self._answer(arrival, message)
        if data:
            self._commit(data, routes)

    def _decoded(self, arrival: Arrival) -> ToServer | None:
        """The message if it may be acted upon; else a refusal is sent and counted."""
        try:
            message = decode_to_server(arrival.data)
        except WireError as error:
            refused = Refused(reason=str(error)[:_REASON_MAX_CHARS])
            self._door.refuse(arrival.route, "not a message", refused)
            return None
        if isinstance(message, (Hello, Fetch)) or message.epoch == self._epochs.get(arrival.robot):
            return message
        self._door.refuse(arrival.route, "no hello came first")
        return None

    def _answer(self, arrival: Arrival, message: Hello | Report | Fetch) -> None:
        try:
            if isinstance(message, Hello):
                self._greet(arrival, message)
            elif isinstance(message, Report):
                self.reports[arrival.robot] = message
                last = self._store.last(arrival.robot, message.epoch)
                self._acknowledge(arrival.route, message.epoch, last)
            else:
                chunk = read_chunk(self._repository, message.path, message.offset)
                self._door.send(arrival.route, chunk)
        except StoreError:
            self._door.refuse(arrival.route, "store failed")

    def _greet(self, arrival: Arrival, hello: Hello) -> None:
        """Begin or go on with a stream; raises StoreError."""
        if hello.robot_digest != self._digest:
            reason = (
                f"robot file {hello.robot_digest[:12]} is not this server's {self._digest[:12]}; "
                "give both sides the same hw_configs file"
            )
            self._door.refuse(arrival.route, "another robot file", Refused(reason=reason))
            return
        last = self._store.greet(arrival.robot, hello.epoch, hello.first_held)
        self._epochs[arrival.robot] = hello.epoch
        self._acknowledge(arrival.route, hello.epoch, last)

    def _commit(self, data: dict[_Stream, list[Entry]], routes: dict[_Stream, bytes]) -> None:
        """Judge, commit, acknowledge; only then does anyone else see the records."""
        try:
            verdicts = {
                stream: admit(self._store.last(*stream), entries, self._store.dtype)
                for stream, entries in data.items()
            }
            self._store.accept(
                [Delivery(*stream, intake.entries) for stream, intake in verdicts.items()]
            )
        except StoreError:
            for route in routes.values():
                self._door.refuse(route, "store failed")
            return
        for stream, intake in verdicts.items():
            self._conclude(routes[stream], stream, intake)
        for stream, intake in verdicts.items():
            for rows in intake.rows:
                self._on_rows(stream.robot, rows)

    def _conclude(self, route: bytes, stream: _Stream, intake: Intake) -> None:
        self.committed += sum(len(rows) for rows in intake.rows)
        self.duplicates += intake.duplicates
        if intake.refused is not None:
            seq, fault = intake.refused
            refused = Refused(reason=fault[:_REASON_MAX_CHARS], epoch=stream.epoch, seq=seq)
            self._door.refuse(route, "content", refused)
        self._acknowledge(route, stream.epoch, intake.last, intake.resend)

    def _acknowledge(self, route: bytes, epoch: str, last: int, resend: bool = False) -> None:
        ack = Ack(epoch=epoch, last=last, policy_version=self.policy_version, resend=resend)
        self._door.send(route, ack)
