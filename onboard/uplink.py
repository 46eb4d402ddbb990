"""From the spool to the server: sends what the window allows and takes the answers."""

from __future__ import annotations

import zmq
from msgspec import UNSET, Struct

from onboard.spool import Spool
from onboard.window import Window
from protocol.errors import WireError
from protocol.messages import Ack, Halt, Hello, Refused, Report, decode_to_robot, encode

_READ_ENTRIES = 8


class Uplink:
    """One robot's stream to its server over a connected DEALER socket.

    Attributes:
        policy_version: newest bundle the server has announced; 0 before the first answer.
        refusal: what the server last refused, and why; empty while all is well.
        nonsense: answers that were no messages.
    """

    def __init__(
        self,
        socket: zmq.Socket[bytes],
        spool: Spool,
        window: Window,
        robot_digest: str,
        task: str,
    ) -> None:
        self._socket = socket
        self._spool = spool
        self._window = window
        self._robot_digest = robot_digest
        self._task = task
        self.policy_version = 0
        self.refusal = ""
        self.nonsense = 0
        self._halt = ""
        self._blocked = False

    def step(self, now_s: float) -> None:
        """Take every answer that has come, then send what is due. Does not block.

        Raises:
            StoreError: the spool failed; the next call goes on from the same place.
        """
        self._blocked = False
        self._receive(now_s)
        if self._window.streaming:
            self._spool.acknowledge(self._window.acknowledged)
        if self._window.greeting_due(now_s) and self._send(self._hello()):
            self._window.greeted(now_s)
        self._stream(now_s)

    def wait(self, timeout_ms: int) -> None:
        """Until there is something to do, or ``timeout_ms`` have passed."""
        self._socket.poll(timeout_ms, self.awaits)

    def report(self, report: Report) -> None:
        """Send a report if the server is listening; the next one makes up for a lost one."""
        if self._window.streaming:
            self._send(report)

    def take_halt(self) -> str:
        """Why the server wants the robot stopped, if it has said so since the last call."""
        reason, self._halt = self._halt, ""
        return reason

    @property
    def awaits(self) -> int:
        """What to poll the socket for: answers, and room for what found none."""
        return zmq.POLLIN | (zmq.POLLOUT if self._blocked else 0)

    @property
    def streaming(self) -> bool:
        """Is the server answering?"""
        return self._window.streaming

    @property
    def busy(self) -> bool:
        """Is the server about to acknowledge something?"""
        return self._window.streaming and self._spool.first_held <= self._spool.newest

    def _hello(self) -> Hello:
        return Hello(
            epoch=self._spool.epoch,
            robot_digest=self._robot_digest,
            task=self._task,
            first_held=self._spool.first_held,
        )

    def _stream(self, now_s: float) -> None:
        while due := self._window.sendable(self._spool.newest):
            for entry in self._spool.unacknowledged(min(len(due), _READ_ENTRIES), due.start - 1):
                if not self._send(entry):
                    return
                self._window.sent(now_s, entry.seq)

    def _receive(self, now_s: float) -> None:
        while frames := self._next_frames():
            try:
                answer = decode_to_robot(frames[-1])
            except WireError:
                self.nonsense += 1
                continue
            if isinstance(answer, Ack):
                self._acknowledged(answer, now_s)
            elif isinstance(answer, Refused):
                self._refused(answer, now_s)
            elif isinstance(answer, Halt):
                self._halt = answer.reason or "no reason given"

    def _acknowledged(self, ack: Ack, now_s: float) -> None:
        self.policy_version = ack.policy_version
        if ack.epoch != self._spool.epoch:
            return
        self.refusal = ""
        if self._forgotten(ack):
            self._spool.begin_epoch()
            self._window.interrupted(now_s)
            return
        self._window.answered(now_s, ack.last, ack.resend)

    def _forgotten(self, ack: Ack) -> bool:
        """Does the server have something under a number that this spool never gave it?"""
        if ack.last > self._spool.newest:
            return True
        return ack.crc32 is not UNSET and self._spool.differs(ack.last, ack.crc32)

    def _refused(self, refused: Refused, now_s: float) -> None:
        self.refusal = refused.reason
        if refused.seq == 0:
            self._window.interrupted(now_s)
        elif refused.epoch == self._spool.epoch and refused.seq >= self._spool.first_held:
            self._spool.quarantine(refused.seq, f"refused by the server: {refused.reason}")
            self._window.go_back(refused.seq - 1)

    def _send(self, message: Struct) -> bool:
        try:
            self._socket.send(encode(message), zmq.DONTWAIT)
        except zmq.Again:
            self._blocked = True
            return False
        return True

    def _next_frames(self) -> list[bytes]:
        try:
            return self._socket.recv_multipart(zmq.DONTWAIT)
        except zmq.Again:
            return []
