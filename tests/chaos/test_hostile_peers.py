"""A real server under attack: it lives, keeps its bounds, and loses no honest robot's record."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import msgspec
import numpy as np
import pytest
import zmq
from endless_message import sending_without_end
from made_records import SPEC, make_records
from made_server import Site, until
from serving import serving

from offboard.door import Arrival, Door
from offboard.key_table import KeyTable
from offboard.keys import TABLE_FILE, enrol_robot, load_server_keys, revoke_robot, rotate_robot
from offboard.reception import STREAMS_MAX
from onboard.dealer import connect
from onboard.identity import Identity, load_identity
from onboard.spool import Spool, open_spool
from onboard.uplink import Uplink
from onboard.window import Patience, Window
from protocol.messages import Ack, Chunk, Fetch, Hello, Refused, decode_to_robot, encode
from protocol.step_record import Rows

HELLO = Hello(epoch="a" * 32, robot_digest=SPEC.digest(), task="swing_up", first_held=1)
FLOOD_HZ, FLOOD_S = 10_000, 3.0
MEMORY_BOUND_BYTES = 160 << 20
MEBIBYTE = 1 << 20
PATIENCE_S = 60.0
"""A machine under attack may have other things to do as well."""

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "server")


@pytest.fixture
def context() -> Iterator[zmq.Context]:
    with zmq.Context() as context:
        yield context


def enrolled(site: Site, robot: str) -> Identity:
    state = site.keys.parent / robot
    enrol_robot(site.keys, robot, state)
    return load_identity(state / "keys")


@contextmanager
def dialled(context: zmq.Context, site: Site, identity: Identity) -> Iterator[zmq.Socket]:
    with closing(connect(context, site.endpoint, identity)) as dealer:
        assert dealer.poll(round(PATIENCE_S * 1e3), zmq.POLLOUT), "no connection"
        yield dealer


def asked(dealer: zmq.Socket, message: object) -> object:
    dealer.send(encode(message))
    assert dealer.poll(round(PATIENCE_S * 1e3)), "no answer"
    return decode_to_robot(dealer.recv())


class Honest:
    """A robot that only wants its records delivered."""

    def __init__(self, uplink: Uplink, spool: Spool) -> None:
        self._uplink, self._spool = uplink, spool
        self._sent: list[Rows] = []

    def deliver(self, count: int = 100) -> None:
        """``count`` more records, acknowledged."""
        rows = make_records(sum(map(len, self._sent)), count)
        self._spool.append(rows)
        self._sent.append(rows)

        def acknowledged() -> bool:
            self._uplink.step(time.monotonic())
            self._uplink.wait(10)
            return self._spool.first_held > self._spool.newest

        until(acknowledged, PATIENCE_S)

    def records(self) -> Rows:
        return np.concatenate(self._sent)


@contextmanager
def honest(site: Site, context: zmq.Context, folder: Path) -> Iterator[Honest]:
    identity = enrolled(site, "honest")
    patience = Patience(answer_s=5.0, retry_min_s=0.05, retry_max_s=0.2)
    with (
        closing(open_spool(folder / "honest.sqlite")) as spool,
        closing(connect(context, site.endpoint, identity)) as dealer,
    ):
        window = Window(random.Random(0).random, patience=patience)
        yield Honest(Uplink(dealer, spool, window, SPEC.digest(), "swing_up"), spool)


def nonsense() -> list[bytes]:
    rng = np.random.default_rng(0)
    return [rng.bytes(size) for size in rng.integers(0, 2000, 100)]


def fresh_spools() -> list[bytes]:
    """What a stolen key can say that costs a server most: each, once, a gap and a transaction."""
    hello = msgspec.structs.replace(HELLO, first_held=2)
    epochs = [f"{number:032x}" for number in range(3 * STREAMS_MAX)]
    return [encode(msgspec.structs.replace(hello, epoch=epoch)) for epoch in epochs]


def flood(dealer: zmq.Socket, stop: threading.Event, messages: list[bytes]) -> int:
    """These at ``FLOOD_HZ``, over and over; returns how many."""
    sent, begun_s = 0, time.monotonic()
    while not stop.is_set():
        due = min(int((time.monotonic() - begun_s) * FLOOD_HZ), int(FLOOD_HZ * FLOOD_S))
        while sent < due and dealer.poll(100, zmq.POLLOUT):
            dealer.send(messages[sent % len(messages)])
            sent += 1
        if sent >= FLOOD_HZ * FLOOD_S:
            return sent
        time.sleep(0.001)
    return sent


@pytest.mark.parametrize(
    ("messages", "reason", "most"),
    [(nonsense, "not a message", 1.0), (fresh_spools, "too many spools", 0.1)],
    ids=["nonsense", "spools"],
)
def test_ten_thousand_hostile_messages_a_second_stop_nobody(
    messages, reason, most, site, context, tmp_path
):
    """All of the nonsense is counted; of well-formed messages as many as the server gets to."""
    enrolled(site, "hostile")
    bad = load_identity(site.keys.parent / "hostile" / "keys")
    with serving(site) as server, honest(site, context, tmp_path) as robot:
        robot.deliver()
        before = server.memory_bytes()
        with dialled(context, site, bad) as dealer:
            stop, sent = threading.Event(), []
            sender = threading.Thread(target=lambda: sent.append(flood(dealer, stop, messages())))
            sender.start()
            while sender.is_alive():
                robot.deliver(10)
            stop.set()
            sender.join()
            until(lambda: server.refused(reason) >= most * sent[0], PATIENCE_S)
            assert server.refused(reason) <= sent[0]
        assert sent == [FLOOD_HZ * FLOOD_S]
        assert server.memory_bytes() < before + MEMORY_BOUND_BYTES
    assert site.records("honest").tobytes() == robot.records().tobytes()


def test_half_open_handshakes_neither_use_up_the_server_nor_keep_robots_out(
    site, context, tmp_path
):
    """Six hundred, some silent, some a byte of a greeting at a time."""
    with serving(site) as server, ExitStack() as crowd:
        host, port = site.endpoint.removeprefix("tcp://").split(":")
        before = server.descriptors()
        for number in range(600):
            stream = crowd.enter_context(socket.create_connection((host, int(port)), 20))
            if number % 2:
                stream.sendall(b"\xff")
        until(lambda: server.refused("too many connections that say nothing") >= 300, PATIENCE_S)
        assert server.descriptors() < before + 300
        with honest(site, context, tmp_path) as robot:
            robot.deliver()


class Faucet:
    """A TCP proxy that lets so many bytes through to the server, and holds the rest back."""

    def __init__(self, endpoint: str, let_through: int) -> None:
        host, port = endpoint.removeprefix("tcp://").split(":")
        self._far = socket.create_connection((host, int(port)))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self._left = let_through
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def close(self) -> None:
        self._closed.set()
        with suppress(OSError):
            self._far.shutdown(socket.SHUT_RDWR)  # a server that cut us may leave its window shut
        self._thread.join()

    def _run(self) -> None:
        near, _ = self._listener.accept()
        back = threading.Thread(target=self._pass_on, args=(self._far, near))
        back.start()
        with self._listener, self._far, near:
            self._pass_on(near, self._far, self._left)
            self._closed.wait()
            for stream in (near, self._far):
                with suppress(OSError):
                    stream.shutdown(socket.SHUT_RDWR)
            back.join()

    @staticmethod
    def _pass_on(source: socket.socket, sink: socket.socket, left: int = 2**40) -> None:
        """Until ``left`` bytes have passed, or one side is gone."""
        with suppress(OSError):
            while left > 0 and (data := source.recv(min(1 << 16, left))):
                sink.sendall(data)
                left -= len(data)


def test_a_message_without_an_end_costs_its_sender_the_connection(site, context, tmp_path):
    enrolled(site, "hostile")
    with serving(site) as server, honest(site, context, tmp_path) as robot:
        robot.deliver()
        before = server.memory_bytes()
        with (
            closing(Faucet(site.endpoint, 200 * MEBIBYTE)) as faucet,
            sending_without_end(faucet.endpoint, site.keys.parent / "hostile" / "keys"),
        ):
            until(lambda: server.refused("message without an end"), PATIENCE_S)
            robot.deliver()
        assert server.memory_bytes() < before + MEMORY_BOUND_BYTES


def test_a_message_of_many_frames_is_refused_as_one(site, context):
    with serving(site) as server, dialled(context, site, enrolled(site, "hostile")) as dealer:
        dealer.send_multipart([b"x"] * 10_000)
        until(lambda: server.refused("more than one frame") == 1, PATIENCE_S)


def test_a_stolen_key_writes_as_its_robot_and_nothing_else(site, context, tmp_path):
    stolen = enrolled(site, "victim")
    (site.repository / "metadata").mkdir(parents=True)
    with serving(site), honest(site, context, tmp_path) as robot:
        robot.deliver()
        with dialled(context, site, stolen) as thief:
            assert asked(thief, HELLO).last == 0, "it sees its own stream, not the other's"
            for path in ("metadata/../keys/server.secret", "keys/robots.json", "targets/../.."):
                answer = asked(thief, Fetch(path=path, offset=0))
                assert isinstance(answer, Chunk)
                assert (answer.found, answer.data) == (False, b"")
        robot.deliver()
    assert len(site.records("honest")) == 200
    assert len(site.records("victim")) == 0


def test_revocation_and_the_end_of_a_replaced_key_reach_open_connections(site, context):
    revoked, replaced = enrolled(site, "revoked"), enrolled(site, "replaced")
    with (
        serving(site),
        dialled(context, site, revoked) as first,
        dialled(context, site, replaced) as second,
    ):
        for dealer in (first, second):
            assert isinstance(asked(dealer, HELLO), Ack)
        revoke_robot(site.keys, "revoked")
        assert isinstance(asked(first, HELLO), Refused)
        carrier = site.keys.parent / "carrier"
        rotate_robot(site.keys, "replaced", carrier, until_s=time.time() + 1.0)
        with dialled(context, site, load_identity(carrier / "keys")) as new:
            assert isinstance(asked(new, HELLO), Ack)
        until(lambda: isinstance(asked(second, HELLO), Refused), PATIENCE_S)


def test_keys_come_and_go_while_strangers_knock(site, context):
    """The authenticator answers them all, and never dies of it."""
    public, secret = zmq.curve_keypair()
    robot = enrolled(site, "robot")
    stranger = Identity(public=public, secret=secret, server=robot.server)
    with serving(site) as server, ExitStack() as crowd:
        for _ in range(50):
            crowd.enter_context(closing(connect(context, site.endpoint, stranger)))
        until(lambda: server.refused("handshake of an unknown key") >= 50, PATIENCE_S)
        with dialled(context, site, robot) as dealer:
            assert isinstance(asked(dealer, HELLO), Ack)


def test_the_authenticator_survives_garbage(site, context):
    """Whoever sits in the server's own process may ask it anything."""
    robot = enrolled(site, "robot")
    rng = np.random.default_rng(0)
    secret, table = load_server_keys(site.keys).curve_secret, KeyTable(site.keys / TABLE_FILE)
    with (
        zmq.Context() as inside,
        closing(Door(inside, secret, table, "tcp://127.0.0.1:*")) as door,
        closing(inside.socket(zmq.DEALER)) as garbage,
    ):
        door.open()
        garbage.connect("inproc://zeromq.zap.01")
        for _ in range(300):
            garbage.send_multipart([rng.bytes(size) for size in rng.integers(0, 40, 9)])
            door.arrivals(0)
        with closing(connect(context, door.endpoint, robot)) as dealer:

            def greeted() -> list[Arrival]:
                with suppress(zmq.Again):
                    dealer.send(encode(HELLO), zmq.DONTWAIT)
                return door.arrivals(10)

            until(greeted, PATIENCE_S)
