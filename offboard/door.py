"""The server's socket and its authenticator, served by one thread side by side.

No second thread can die and leave the door open, or shut. CURVE proves a key; the key table says
whose it is and is asked for **every** message, so a revoked key is out at once even on an open
connection. Every option is set before bind. Source: FLEET.md § 2.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import NamedTuple

import zmq
from zmq.utils.monitor import recv_monitor_message

from offboard.connections import Connections, Limits
from offboard.gate import DOMAIN, answer
from offboard.key_table import KeyTable
from protocol.errors import ConfigError
from protocol.messages import MAX_BYTES, Refused, ToRobot, encode

_QUEUED_MESSAGES = 32
_DRAINED_MESSAGES = 128
_AUTHENTICATOR = "inproc://zeromq.zap.01"
_MONITOR = "inproc://wombet.door.connections"
_OPENED = zmq.EVENT_ACCEPTED
_CLOSED = zmq.EVENT_CLOSED | zmq.EVENT_DISCONNECTED
_ENFORCE_S = 0.1
LIMITS = Limits()


class Arrival(NamedTuple):
    """One message of an enrolled robot; ``route`` leads back to the connection it came over."""

    route: bytes
    robot: str
    data: bytes


class Door:
    """A CURVE ROUTER that lets enrolled keys in.

    Attributes:
        endpoint: where it listens; once open, with the port really bound.
        refusals: handshakes and messages refused, by reason.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        secret: bytes,
        table: KeyTable,
        endpoint: str,
        limits: Limits = LIMITS,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """``context`` may have one Door only: the authenticator's address is the context's."""
        self._context = context
        self._secret = secret
        self._table = table
        self._connections = Connections(limits, clock_s)
        self._clock_s = clock_s
        self._enforced_s = clock_s()
        self._poller = zmq.Poller()
        self.endpoint = endpoint
        self.refusals: Counter[str] = Counter()

    def open(self) -> None:
        """Listen. Raises ConfigError if the endpoint cannot be bound."""
        self._table.refresh()
        self._gate = self._context.socket(zmq.ROUTER)
        self._socket = self._context.socket(zmq.ROUTER)
        self._monitor = self._context.socket(zmq.PAIR)
        try:
            self._gate.bind(_AUTHENTICATOR)
            self._monitor.setsockopt(zmq.RCVHWM, 0)  # or ZeroMQ's own thread would wait for us
            self._socket.monitor(_MONITOR, _OPENED | _CLOSED)
            self._monitor.connect(_MONITOR)
            for option, value in self._options().items():
                self._socket.setsockopt(option, value)
            self._socket.bind(self.endpoint)
        except zmq.ZMQError as error:
            self.close()
            raise ConfigError(f"cannot listen on {self.endpoint}: {error}") from error
        self.endpoint = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
        for socket in (self._gate, self._monitor, self._socket):
            self._poller.register(socket, zmq.POLLIN)

    def close(self) -> None:
        """Stop listening; what was queued is lost, which our acknowledgements allow for."""
        self._socket.disable_monitor()
        for socket in (self._monitor, self._socket, self._gate):
            socket.close(linger=0)

    def arrivals(self, timeout_ms: int) -> list[Arrival]:
        """Messages of enrolled robots, in order; everything else is refused and counted."""
        ready = dict(self._poller.poll(timeout_ms))
        self._table.refresh()
        if self._monitor in ready:
            self._watch()
        if self._gate in ready:
            self._authenticate()
        arrivals = [*self._drain()] if self._socket in ready else []
        if self._clock_s() >= self._enforced_s + _ENFORCE_S:
            self._enforced_s = self._clock_s()
            self.refusals.update(self._connections.enforce())
        return arrivals

    def send(self, route: bytes, message: ToRobot) -> None:
        """Never waits: an answer that finds no room is made up for by a later one."""
        with suppress(zmq.Again):
            self._socket.send_multipart([route, encode(message)], zmq.DONTWAIT)

    def _refuse(self, route: bytes, reason: str) -> None:
        self.refusals[reason] += 1
        self.send(route, Refused(reason=reason))

    def _drain(self) -> Iterator[Arrival]:
        for _ in range(_DRAINED_MESSAGES):
            try:
                route, *frames = self._socket.recv_multipart(zmq.DONTWAIT, copy=False)
            except zmq.Again:
                return
            robot = self._table.robot_of(_key(frames[0])) if frames else None
            if robot is None:
                self._refuse(route.bytes, "key not enrolled")
            elif len(frames) != 1:
                self._refuse(route.bytes, "more than one frame")
            else:
                self._connections.heard(_descriptor(frames[0]))
                yield Arrival(route.bytes, robot, frames[0].bytes)

    def _watch(self) -> None:
        """Note which connections came and went."""
        with suppress(zmq.Again):
            while True:
                event = recv_monitor_message(self._monitor, zmq.DONTWAIT)
                if event["event"] == _OPENED:
                    self._connections.opened(event["value"])
                else:
                    self._connections.closed(event["value"])

    def _authenticate(self) -> None:
        for _ in range(_DRAINED_MESSAGES):
            try:
                request = self._gate.recv_multipart(zmq.DONTWAIT)
            except zmq.Again:
                return
            reply = answer(request, self._table.robot_of)
            if b"200" not in reply:
                self.refusals["handshake of an unknown key"] += 1
            with suppress(zmq.ZMQError):  # whoever asked is gone; nobody else may suffer for it
                self._gate.send_multipart(reply, zmq.DONTWAIT)

    def _options(self) -> dict[int, int | bytes]:
        return {
            zmq.CURVE_SERVER: 1,
            zmq.CURVE_SECRETKEY: self._secret,
            zmq.ZAP_DOMAIN: DOMAIN,
            zmq.ZAP_ENFORCE_DOMAIN: 1,
            zmq.HEARTBEAT_IVL: 2000,
            zmq.HEARTBEAT_TIMEOUT: 6000,
            zmq.HEARTBEAT_TTL: 6000,
            zmq.HANDSHAKE_IVL: 5000,
            zmq.MAXMSGSIZE: MAX_BYTES,
            zmq.SNDHWM: _QUEUED_MESSAGES,
            zmq.RCVHWM: _QUEUED_MESSAGES,
            zmq.LINGER: 0,
            zmq.TCP_KEEPALIVE: 1,
        }


def _key(frame: zmq.Frame) -> str:
    """The z85 key that the authenticator tied to the connection a frame came over."""
    try:
        return str(frame.get("User-Id"))
    except zmq.ZMQError:
        return ""


def _descriptor(frame: zmq.Frame) -> int:
    """That of the connection a frame came over; -1 if it has none."""
    try:
        return int(frame.get(zmq.SRCFD))
    except zmq.ZMQError:
        return -1
