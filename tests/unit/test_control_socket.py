"""Does the socket answer what it should, refuse garbage, and survive rude clients?"""

from __future__ import annotations

import errno
import select
import socket
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from made_agent import make_status

from onboard.control_api import (
    Clear,
    Done,
    Estop,
    Offer,
    Reply,
    Request,
    Start,
    Stop,
    decode_reply,
)
from onboard.control_socket import DATAGRAM_BYTES, ControlClient, ControlServer
from protocol.errors import ConfigError, WireError
from protocol.messages import encode


class Desk:
    """Acknowledges everything by name."""

    def handle(self, request: Request) -> Reply:
        detail = f"{request.version} in {request.directory}" if isinstance(request, Offer) else ""
        return Done(ok=not isinstance(request, Start), detail=type(request).__name__ + detail)


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "run" / "control.sock"
    server = ControlServer(path, Desk().handle).open()
    thread = threading.Thread(target=server.serve)
    thread.start()
    yield path
    server.close()
    thread.join(5)
    assert not thread.is_alive()
    assert not path.exists()


@pytest.fixture
def client(path: Path) -> Iterator[ControlClient]:
    client = ControlClient(path)
    yield client
    client.close()


def test_requests_are_answered_in_order(client: ControlClient) -> None:
    assert client.command(Estop()) == Done(ok=True, detail="Estop")
    assert client.command(Start()) == Done(ok=False, detail="Start")
    assert client.offer(3, Path("/b")).detail == "Offer3 in /b"


def test_several_clients_are_served(path: Path, client: ControlClient) -> None:
    others = [ControlClient(path) for _ in range(5)]
    assert all(other.command(Estop()).ok for other in [*others, client])
    for other in others:
        other.close()


def test_only_this_user_can_reach_it(path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("data", [b"\xc1", b"\x80", b"x" * 300, b"\x81\xa1v\x63"])
def test_garbage_is_refused_and_harms_nobody(
    path: Path, client: ControlClient, data: bytes
) -> None:
    from onboard.control_api import decode_reply

    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as rude:
        rude.settimeout(5)
        rude.connect(str(path))
        rude.send(data)
        reply = decode_reply(rude.recv(DATAGRAM_BYTES))
    assert isinstance(reply, Done)
    assert not reply.ok
    assert client.command(Estop()).ok


def test_a_client_that_leaves_before_its_answer_harms_nobody(
    path: Path, client: ControlClient
) -> None:
    from protocol.messages import encode

    for _ in range(3):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as rude:
            rude.connect(str(path))
            rude.send(encode(Estop()))
    assert client.command(Estop()).ok


def test_a_second_server_is_refused_but_a_dead_ones_socket_is_replaced(
    path: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="another control process is running"):
        ControlServer(path, Desk().handle).open()
    stale = tmp_path / "stale.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as dead:
        dead.bind(str(stale))
    server = ControlServer(stale, Desk().handle).open()
    server.close()
    server.serve()


def test_without_control_the_client_says_so_and_recovers(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    client = ControlClient(path)
    with pytest.raises(WireError, match="control is not running"):
        client.status()
    server = ControlServer(path, Desk().handle).open()
    thread = threading.Thread(target=server.serve)
    thread.start()
    assert client.command(Estop()).ok
    with pytest.raises(WireError, match="no status"):
        client.status()
    server.close()
    thread.join(5)
    with pytest.raises(WireError):
        client.command(Estop())
    client.close()


def test_a_late_reply_is_never_taken_for_the_next_one(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    release = threading.Event()

    def slow(request: Request) -> Reply:
        release.wait(5)
        return Done(ok=True, detail=type(request).__name__)

    server = ControlServer(path, slow).open()
    thread = threading.Thread(target=server.serve)
    thread.start()
    client = ControlClient(path, timeout_s=0.05)
    with pytest.raises(WireError, match=r"control is busy: no answer within 0\.05 s"):
        client.command(Start())
    release.set()
    client = ControlClient(path)
    assert client.command(Estop()).detail == "Estop"
    client.close()
    server.close()
    thread.join(5)


def test_what_moves_the_robot_expires_when_the_client_gives_up(tmp_path: Path) -> None:
    path, seen = tmp_path / "control.sock", list[Request]()

    def note(request: Request) -> Reply:
        seen.append(request)
        return Done(ok=True)

    server = ControlServer(path, note).open()
    thread = threading.Thread(target=server.serve)
    thread.start()
    client = ControlClient(path, timeout_s=1.5, clock_ns=lambda: 1_000)
    for request in (Start(), Clear(), Stop(), Estop()):
        client.command(request)
    client.close()
    server.close()
    thread.join(5)
    deadline_ns = 1_500_001_000
    assert seen == [
        *(Start(deadline_ns=deadline_ns), Clear(deadline_ns=deadline_ns)),
        *(Stop(), Estop()),
    ]


class Held:
    """A reply that comes when the test says so."""

    def __init__(self) -> None:
        self.released = threading.Event()

    def reply(self) -> Reply | None:
        return Done(ok=True, detail="at last") if self.released.is_set() else None


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[tuple[Path, Held]]:
    """A server whose loop does not obey START for now; everything else is answered."""
    path, held = tmp_path / "control.sock", Held()
    server = ControlServer(path, lambda r: held if isinstance(r, Start) else Desk().handle(r))
    server.open()
    thread = threading.Thread(target=server.serve)
    thread.start()
    yield path, held
    server.close()
    thread.join(5)
    assert not thread.is_alive()


def test_an_emergency_stop_does_not_wait_behind_another_clients_command(
    slow: tuple[Path, Held],
) -> None:
    path, held = slow
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as other:
        other.settimeout(5)
        other.connect(str(path))
        other.send(encode(Start()))
        client = ControlClient(path)
        assert client.command(Estop()).ok  # answered although START is not
        client.close()
        held.released.set()
        assert decode_reply(other.recv(DATAGRAM_BYTES)) == Done(ok=True, detail="at last")
        other.send(encode(Estop()))  # and the first client is heard again
        assert decode_reply(other.recv(DATAGRAM_BYTES)) == Done(ok=True, detail="Estop")


def test_a_client_that_never_reads_does_not_hold_up_the_others(path: Path) -> None:
    """Its replies fill the socket; then it is dropped instead of waited for."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as rude:
        rude.connect(str(path))
        rude.setblocking(False)
        client = ControlClient(path)
        for _ in range(5000):
            try:
                rude.send(encode(Estop()))
            except BlockingIOError:
                assert client.command(Estop()).ok
            except OSError:
                break
        else:
            raise AssertionError("it was never dropped")
        assert client.command(Estop()).ok
        client.close()


def test_a_client_that_leaves_its_reply_unread_harms_nobody(
    path: Path, client: ControlClient
) -> None:
    """The server meets a reset connection where it expects a request."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as rude:
        rude.connect(str(path))
        rude.send(encode(Estop()))
        assert select.select([rude], [], [], 5.0)[0]
    assert client.command(Estop()).ok


def test_a_place_that_cannot_hold_a_socket_is_a_wrong_configuration(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot serve the control socket"):
        ControlServer(tmp_path / "file" / "control.sock", Desk().handle).open()


def test_a_server_that_never_opened_can_be_ended(tmp_path: Path) -> None:
    server = ControlServer(tmp_path / "control.sock", Desk().handle)
    server.close()
    server.serve()


def test_a_status_is_no_acknowledgement(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    server = ControlServer(path, lambda _: make_status()).open()
    thread = threading.Thread(target=server.serve)
    thread.start()
    client = ControlClient(path)
    assert client.status() == make_status()
    with pytest.raises(WireError, match="no acknowledgement"):
        client.command(Estop())
    client.close()
    server.close()
    thread.join(5)


def test_a_server_that_ends_gives_back_who_still_waits(tmp_path: Path) -> None:
    path, held = tmp_path / "control.sock", Held()
    server = ControlServer(path, lambda _: held).open()
    thread = threading.Thread(target=server.serve)
    thread.start()

    def end_it() -> None:
        while not server._waiting:
            time.sleep(0.001)
        server.close()

    ending = threading.Thread(target=end_it)
    ending.start()
    with pytest.raises(WireError, match="control went away"):
        ControlClient(path, timeout_s=5.0).command(Start())
    ending.join(5)
    thread.join(5)
    assert not thread.is_alive()


def test_a_listener_that_cannot_accept_does_not_end_the_server(
    path: Path, client: ControlClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept, failed = socket.socket.accept, threading.Event()

    def refuse_once(listener: socket.socket) -> tuple[socket.socket, object]:
        if failed.is_set():
            return accept(listener)
        failed.set()
        raise OSError(errno.EMFILE, "no descriptor is free")

    monkeypatch.setattr(socket.socket, "accept", refuse_once)
    assert client.command(Estop()).ok
    assert failed.is_set()
