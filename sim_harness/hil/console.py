"""The operator's side of the runtime: status in, orders out.

On this machine over the control socket, whose requests the runtime documents in its
``control_api``; on another one by a session of the runtime's own command line.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from pathlib import Path
from typing import Annotated, NamedTuple, Protocol

import msgspec
from msgspec import Meta, Struct

from protocol.messages import VERSION
from sim_harness.hil.host import Host
from sim_harness.hil.session import Session

ANSWER_BYTES = 1 << 18
STATUS_S, ORDER_S = 0.25, 10.0
SOCKET_FILE = "control.sock"


class Change(Struct, frozen=True):
    """One change of mode, by the runtime's monotonic clock."""

    number: int
    at_ns: int
    old: str
    new: str
    reason: str


class Status(Struct, frozen=True):
    """What the harness wants to know of a status."""

    mode: str
    reason: str
    pid: Annotated[int, Meta(ge=0)]
    at_ns: int
    active_version: int
    produced: int
    dropped: int
    changes: list[Change]


class Done(Struct, frozen=True):
    """Whether an order was taken, and why not."""

    ok: bool
    detail: str = ""


class Pinned(NamedTuple):
    """A policy to use: its version, and where it lies on the runtime's machine."""

    version: int
    directory: str


class Console(Protocol):
    """What an operator has in hand."""

    def status(self) -> Status | None:
        """A snapshot; None if control does not answer."""
        ...

    def order(self, word: str) -> Done:
        """Say start, stop, estop or clear."""
        ...

    def pin(self, policy: Pinned) -> Done:
        """Have this policy used, and no other."""
        ...

    def close(self) -> None:
        """Put it down; the runtime goes on."""
        ...


class SocketConsole:
    """A :class:`Console` on this machine."""

    def __init__(self, runtime: Path) -> None:
        self._path = runtime / SOCKET_FILE

    def status(self) -> Status | None:
        """See :class:`Console`."""
        with suppress(OSError, msgspec.MsgspecError):
            return msgspec.msgpack.decode(self._ask(STATUS_S, kind="status"), type=Status)
        return None

    def order(self, word: str) -> Done:
        """See :class:`Console`."""
        return self._tell(kind=word)

    def pin(self, policy: Pinned) -> Done:
        """See :class:`Console`."""
        return self._tell(kind="pin", version=policy.version, directory=policy.directory)

    def close(self) -> None:
        """See :class:`Console`."""

    def _tell(self, **request: object) -> Done:
        try:
            return msgspec.msgpack.decode(self._ask(ORDER_S, **request), type=Done)
        except (OSError, msgspec.MsgspecError) as error:
            return Done(ok=False, detail=f"control does not answer ({error})")

    def _ask(self, within_s: float, **request: object) -> bytes:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
            connection.settimeout(within_s)
            connection.connect(str(self._path))
            connection.send(msgspec.msgpack.encode({"v": VERSION, **request}))
            return connection.recv(ANSWER_BYTES)


class RemoteConsole:
    """A :class:`Console` on any machine: one session of the runtime's ``console`` that stays open.

    An order that the session does not answer is given by a command of its own.

    Args:
        host: where the runtime lives.
        program: how it is called there.
        places: its ``--robot``, ``--state`` and ``--runtime``.
    """

    def __init__(self, host: Host, program: tuple[str, ...], places: tuple[str, ...]) -> None:
        self._host, self._program, self._places = host, program, places
        self._session = Session(host.argv([*program, "console", *places]))

    def status(self) -> Status | None:
        """See :class:`Console`."""
        with suppress(msgspec.MsgspecError):
            return msgspec.json.decode(self._session.ask("status", ORDER_S), type=Status)
        return None

    def order(self, word: str) -> Done:
        """See :class:`Console`."""
        with suppress(msgspec.MsgspecError):
            return msgspec.json.decode(self._session.ask(word, ORDER_S), type=Done)
        return self._run(word)

    def pin(self, policy: Pinned) -> Done:
        """See :class:`Console`; the bundle has to lie among those of its state directory."""
        return self._run("policy", "pin", str(policy.version))

    def close(self) -> None:
        """See :class:`Console`."""
        self._session.end()

    def _run(self, *words: str) -> Done:
        told = self._host.call(*self._program, *words, *self._places)
        return Done(ok=told.returncode == 0, detail=(told.stdout + told.stderr).strip())
