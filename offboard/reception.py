"""What to answer robots: greet, accept ``last + 1``, commit, acknowledge. No sockets, no threads.

A robot's name is that of its key, never of a message. Source: FLEET.md § 3.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from msgspec import UNSET

from offboard.clocks import Clocks
from offboard.door import Arrival
from offboard.episode_store import Delivery, EpisodeStore
from offboard.intake import Entry, Intake, admit
from offboard.plausibility import check_first_held
from offboard.update_files import read_chunk
from protocol.errors import StoreError, WireError
from protocol.messages import (
    Ack,
    Batch,
    Fetch,
    Gap,
    Halt,
    Hello,
    Refused,
    Report,
    ToRobot,
    ToServer,
    decode_to_server,
)
from protocol.robot_spec import RobotSpec
from protocol.step_record import Rows

_REASON_MAX_CHARS = 1024
STREAMS_MAX = 1_000
"""Of one robot. Every new spool begins one, which is rare; whoever has a stolen key could begin any
number, and each costs this server's disk a transaction and a row."""

GAPS_PER_HOUR = 10_000
"""Of one robot. A gap stays on record for ever; a robot that is well declares a few a day."""
_HOUR_S = 3600.0


class Reply(NamedTuple):
    """A message and the connection it goes to."""

    route: bytes
    message: ToRobot


class Committed(NamedTuple):
    """Records of a robot that have just become durable."""

    robot: str
    rows: Rows


@dataclass
class Outcome:
    """What came of some arrivals: answers to send, and then records to pass on."""

    replies: list[Reply] = field(default_factory=list)
    committed: list[Committed] = field(default_factory=list)


def unheeded(robot: str, report: Report) -> None:
    """Nobody listens."""


class _Stream(NamedTuple):
    robot: str
    epoch: str


class _Allowance:
    """How many gaps each robot may still put on record, by the hour."""

    def __init__(self, clock_s: Callable[[], float]) -> None:
        self._clock_s = clock_s
        self._taken: dict[str, tuple[float, int]] = {}

    def take(self, robot: str) -> bool:
        """Whether it may be one more."""
        now_s = self._clock_s()
        began_s, taken = self._taken.get(robot, (now_s, 0))
        if now_s - began_s >= _HOUR_S:
            began_s, taken = now_s, 0
        self._taken[robot] = began_s, taken + 1
        return taken < GAPS_PER_HOUR


class Reception:
    """The server's half of the delivery contract.

    Attributes:
        policy_version: newest published bundle; announced with every acknowledgement.
        reports: latest report of each robot.
        refusals: messages refused, by reason.
        records: records committed since the start.
        duplicates: entries that came again and were acknowledged again.
        clocks: whether the robots' clocks ever ran backwards.
    """

    def __init__(
        self,
        store: EpisodeStore,
        spec: RobotSpec,
        repository: Path,
        halt_reason: Callable[[str], str] = lambda robot: "",
        clock_s: Callable[[], float] = time.monotonic,
        on_report: Callable[[str, Report], None] = unheeded,
    ) -> None:
        """``halt_reason(robot)`` says why a robot shall stop; empty if it need not.

        ``on_report(robot, report)`` hears every report.
        """
        self._store = store
        self._allowance = _Allowance(clock_s)
        self._halt_reason, self._on_report = halt_reason, on_report
        self._digest = spec.digest()
        self._repository = repository
        self._epochs: dict[str, str] = {}
        self.policy_version = 0
        self.reports: dict[str, Report] = {}
        self.refusals: Counter[str] = Counter()
        self.records = 0
        self.duplicates = 0
        self.clocks = Clocks()

    def take(self, arrivals: list[Arrival]) -> Outcome:
        """Answer everything; data of all robots is committed in one transaction.

        Nothing a robot sends makes this raise. If the store fails, the robots are told and will
        send again.
        """
        outcome = Outcome()
        routes: dict[_Stream, bytes] = {}
        data: dict[_Stream, list[Entry]] = {}
        for arrival in arrivals:
            message = self._accepted(arrival, outcome)
            if isinstance(message, (Batch, Gap)):
                stream = _Stream(arrival.robot, message.epoch)
                routes[stream] = arrival.route
                data.setdefault(stream, []).append(message)
            elif message is not None:
                self._answer(arrival, message, outcome)
        if data:
            self._commit(data, routes, outcome)
        return outcome

    def _accepted(self, arrival: Arrival, outcome: Outcome) -> ToServer | None:
        """The message if it may be acted upon; else a refusal."""
        try:
            message = decode_to_server(arrival.data)
        except WireError as error:
            self._refuse(outcome, arrival.route, "not a message", str(error))
            return None
        if isinstance(message, (Hello, Fetch)):
            return message
        if message.epoch != self._epochs.get(arrival.robot):
            self._refuse(outcome, arrival.route, "no hello came first")
            return None
        if isinstance(message, Gap) and not self._may_declare(arrival, outcome):
            return None
        return message

    def _may_declare(self, arrival: Arrival, outcome: Outcome) -> bool:
        """Whether one more gap of this robot may go on record; else a refusal, for now."""
        if self._allowance.take(arrival.robot):
            return True
        detail = (
            f"{arrival.robot} has declared {GAPS_PER_HOUR} gaps within an hour; more are taken "
            f"after it. If its key was stolen: wombet-offboard keys revoke {arrival.robot}"
        )
        self._refuse(outcome, arrival.route, "too many gaps", detail)
        return False

    def _answer(self, arrival: Arrival, message: Hello | Report | Fetch, outcome: Outcome) -> None:
        try:
            if isinstance(message, Hello):
                self._greet(arrival, message, outcome)
            elif isinstance(message, Report):
                self.reports[arrival.robot] = message
                self._on_report(arrival.robot, message)
                last = self._store.last(arrival.robot, message.epoch)
                self._acknowledge(outcome, arrival.route, message.epoch, last)
            else:
                chunk = read_chunk(self._repository, message.path, message.offset)
                outcome.replies.append(Reply(arrival.route, chunk))
        except StoreError:
            self._refuse(outcome, arrival.route, "store failed")
        if reason := self._halt_reason(arrival.robot):
            outcome.replies.append(Reply(arrival.route, Halt(reason=reason)))

    def _greet(self, arrival: Arrival, hello: Hello, outcome: Outcome) -> None:
        """Begin or go on with a stream. Raises StoreError."""
        if hello.robot_digest != self._digest:
            detail = (
                f"robot file {hello.robot_digest[:12]} is not this server's {self._digest[:12]}; "
                "give both sides the same hw_configs file"
            )
            self._refuse(outcome, arrival.route, "another robot file", detail)
            return
        if self._is_one_too_many(arrival.robot, hello.epoch):
            detail = (
                f"{arrival.robot} has begun {STREAMS_MAX} spools; if its key was stolen: "
                f"wombet-offboard keys revoke {arrival.robot}; else enrol it under a new name"
            )
            self._refuse(outcome, arrival.route, "too many spools", detail)
            return
        if not self._may_begin_at(arrival, hello, outcome):
            return
        last = self._store.greet(arrival.robot, hello.epoch, hello.first_held)
        crc32 = self._store.crc32_of(arrival.robot, hello.epoch, last)
        self._epochs[arrival.robot] = hello.epoch
        ack = Ack(
            epoch=hello.epoch,
            last=last,
            policy_version=self.policy_version,
            crc32=UNSET if crc32 is None else crc32,
        )
        outcome.replies.append(Reply(arrival.route, ack))

    def _may_begin_at(self, arrival: Arrival, hello: Hello, outcome: Outcome) -> bool:
        """Whether what lies before ``first_held`` may be put on record as lost; else a refusal."""
        try:
            check_first_held(hello.first_held)
        except WireError as error:
            self._refuse(outcome, arrival.route, "implausible hello", str(error))
            return False
        if hello.first_held <= self._store.last(arrival.robot, hello.epoch) + 1:
            return True
        return self._may_declare(arrival, outcome)

    def _is_one_too_many(self, robot: str, epoch: str) -> bool:
        return self._store.last(robot, epoch) == 0 and self._store.streams(robot) >= STREAMS_MAX

    def _commit(
        self, data: dict[_Stream, list[Entry]], routes: dict[_Stream, bytes], outcome: Outcome
    ) -> None:
        """Judge, commit, acknowledge; only then does anyone else see the records."""
        try:
            intakes = {
                stream: admit(self._store.last(*stream), entries, self._store.dtype)
                for stream, entries in data.items()
            }
            self._store.accept(
                [Delivery(*stream, intake.entries) for stream, intake in intakes.items()]
            )
        except StoreError:
            for route in routes.values():
                self._refuse(outcome, route, "store failed")
            return
        for stream, intake in intakes.items():
            self._conclude(stream, intake, routes[stream], outcome)

    def _conclude(self, stream: _Stream, intake: Intake, route: bytes, outcome: Outcome) -> None:
        self.records += sum(len(rows) for rows in intake.rows)
        self.duplicates += intake.duplicates
        for rows in intake.rows:
            self.clocks.saw(stream.robot, rows)
            outcome.committed.append(Committed(stream.robot, rows))
        if intake.refused is not None:
            seq, fault = intake.refused
            self._refuse(outcome, route, "content", fault, stream.epoch, seq)
        self._acknowledge(outcome, route, stream.epoch, intake.last, intake.resend)

    def _acknowledge(
        self, outcome: Outcome, route: bytes, epoch: str, last: int, resend: bool = False
    ) -> None:
        ack = Ack(epoch=epoch, last=last, policy_version=self.policy_version, resend=resend)
        outcome.replies.append(Reply(route, ack))

    def _refuse(
        self,
        outcome: Outcome,
        route: bytes,
        reason: str,
        detail: str = "",
        epoch: str | None = None,
        seq: int = 0,
    ) -> None:
        self.refusals[reason] += 1
        text = (detail or reason)[:_REASON_MAX_CHARS]
        outcome.replies.append(Reply(route, Refused(reason=text, epoch=epoch, seq=seq)))
