"""The door on real sockets: who gets in, who stays out, and a server that comes and goes."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest
import zmq
from made_records import SPEC, make_records
from made_server import Site, until
from tuf.api.exceptions import DownloadError, DownloadHTTPError

from offboard.keys import enrol_robot, init_server, revoke_robot
from onboard.bundle_fetcher import ServerFetcher
from onboard.dealer import connect
from onboard.identity import Identity, load_identity
from onboard.spool import Spool, open_spool
from onboard.uplink import Uplink
from onboard.window import Patience, Window
from protocol.messages import (
    CHUNK_BYTES,
    MAX_BYTES,
    Ack,
    Fetch,
    Hello,
    Refused,
    decode_to_robot,
    encode,
)

EPOCH = "a" * 32
HELLO = Hello(epoch=EPOCH, robot_digest=SPEC.digest(), task="swing_up", first_held=1)


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


def ask(socket: zmq.Socket, data: bytes, within_ms: int = 5000) -> object | None:
    """The answer to one message, or None if there is none."""
    assert socket.poll(within_ms, zmq.POLLOUT) or within_ms < 5000
    try:
        socket.send(data, zmq.DONTWAIT)
    except zmq.Again:
        return None
    return decode_to_robot(socket.recv()) if socket.poll(within_ms) else None


@contextmanager
def streaming(
    site: Site, context: zmq.Context, identity: Identity, spool: Spool
) -> Iterator[Uplink]:
    patience = Patience(answer_s=0.5, retry_min_s=0.05, retry_max_s=0.2)
    window = Window(random.Random(0).random, patience=patience)
    with closing(connect(context, site.endpoint, identity)) as socket:
        yield Uplink(socket, spool, window, SPEC.digest(), "swing_up")


def drain(uplink: Uplink, spool: Spool) -> None:
    def all_acknowledged() -> bool:
        uplink.step(time.monotonic())
        uplink.wait(10)
        return spool.first_held > spool.newest

    until(all_acknowledged)


def test_an_enrolled_robot_is_greeted(site, context):
    robot = enrolled(site, "a")
    with site.running(), closing(connect(context, site.endpoint, robot)) as socket:
        assert isinstance(ask(socket, encode(HELLO)), Ack)


def test_a_key_that_is_not_enrolled_is_refused_at_the_handshake(site, context):
    enrolled(site, "a")
    public, secret = zmq.curve_keypair()
    with site.running() as ingest:
        server = load_identity(site.keys.parent / "a" / "keys").server
        stranger = Identity(public=public, secret=secret, server=server)
        with closing(connect(context, site.endpoint, stranger)) as socket:
            until(lambda: ingest.refusals["handshake of an unknown key"])
            assert not socket.poll(200, zmq.POLLOUT)


def test_a_robot_without_encryption_gets_no_answer(site, context):
    with site.running(), closing(context.socket(zmq.DEALER)) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        socket.connect(site.endpoint)
        assert ask(socket, encode(HELLO), 500) is None


def test_a_server_with_another_key_gets_no_data(site, context, tmp_path):
    robot = enrolled(site, "a")
    impostor = init_server(tmp_path / "impostor").curve_public
    deceived = Identity(public=robot.public, secret=robot.secret, server=impostor)
    with site.running(), closing(connect(context, site.endpoint, deceived)) as socket:
        assert not socket.poll(500, zmq.POLLOUT)


def test_a_revoked_key_is_out_at_once_on_an_open_connection(site, context):
    robot = enrolled(site, "a")
    with site.running() as ingest, closing(connect(context, site.endpoint, robot)) as socket:
        assert isinstance(ask(socket, encode(HELLO)), Ack)
        revoke_robot(site.keys, "a")
        answer = ask(socket, encode(HELLO))
        assert isinstance(answer, Refused)
        assert ingest.refusals["key not enrolled"] == 1


def test_a_robot_enrolled_while_the_server_runs_is_let_in(site, context):
    with site.running():
        robot = enrolled(site, "late")
        with closing(connect(context, site.endpoint, robot)) as socket:
            assert isinstance(ask(socket, encode(HELLO)), Ack)


def test_robot_a_cannot_write_as_robot_b(site, context, tmp_path):
    """Not even with the same epoch: names come from keys."""
    a, b = enrolled(site, "a"), enrolled(site, "b")
    with site.running() as ingest:
        for name, identity, first in (("b", b, 0), ("a", a, 500)):
            spool = open_spool(tmp_path / f"{name}.sqlite", new_epoch=lambda: EPOCH)
            spool.append(make_records(first, 20))
            with streaming(site, context, identity, spool) as uplink:
                drain(uplink, spool)
            spool.close()
        assert ingest.committed == 40
    assert site.records("b").tobytes() == make_records(0, 20).tobytes()
    assert site.records("a").tobytes() == make_records(500, 20).tobytes()


def test_hostile_messages_of_an_enrolled_robot_leave_the_others_unharmed(site, context, tmp_path):
    bad, good = enrolled(site, "bad"), enrolled(site, "good")
    rng = np.random.default_rng(0)
    with site.running() as ingest, closing(connect(context, site.endpoint, bad)) as socket:
        until(lambda: socket.poll(0, zmq.POLLOUT))
        for size in rng.integers(0, 400, 200):
            socket.send(rng.bytes(size))
        socket.send_multipart([encode(HELLO)] * 50)
        until(lambda: ingest.refusals["not a message"] == 200)
        until(lambda: ingest.refusals["more than one frame"] == 1)
        spool = open_spool(tmp_path / "good.sqlite")
        spool.append(make_records(0, 100))
        with streaming(site, context, good, spool) as uplink:
            drain(uplink, spool)
        spool.close()
    assert len(site.records("good")) == 100
    assert len(site.records("bad")) == 0


def test_an_oversized_message_costs_its_sender_the_connection_and_nobody_else(site, context):
    bad, good = enrolled(site, "bad"), enrolled(site, "good")
    with site.running():
        with closing(connect(context, site.endpoint, bad)) as socket:
            assert ask(socket, bytes(MAX_BYTES + 4096), 1000) is None
        with closing(connect(context, site.endpoint, good)) as socket:
            assert isinstance(ask(socket, encode(HELLO)), Ack)


def test_update_files_are_served_and_nothing_else(site, context):
    robot = enrolled(site, "a")
    (site.repository / "metadata").mkdir(parents=True)
    (site.repository / "metadata" / "timestamp.json").write_bytes(b"{}")
    with site.running(), closing(connect(context, site.endpoint, robot)) as socket:
        found = ask(socket, encode(Fetch(path="metadata/timestamp.json", offset=0)))
        assert found.data == b"{}"
        stolen = ask(socket, encode(Fetch(path="metadata/../../keys/server.secret", offset=0)))
        assert (stolen.found, stolen.data) == (False, b"")


def test_a_file_larger_than_a_message_is_fetched_whole(site, context):
    robot = enrolled(site, "a")
    data = np.random.default_rng(0).bytes(3 * CHUNK_BYTES + 17)
    (site.repository / "targets").mkdir(parents=True)
    (site.repository / "targets" / "weights").write_bytes(data)
    with site.running():
        fetcher = ServerFetcher(lambda: connect(context, site.endpoint, robot))
        with closing(fetcher):
            assert b"".join(fetcher.fetch("targets/weights")) == data
            with pytest.raises(DownloadHTTPError):
                [*fetcher.fetch("targets/missing")]


def test_a_fetch_gives_up_when_the_server_is_away_or_it_is_told_to(site, context):
    robot = enrolled(site, "a")
    with site.running():
        pass  # learns its port
    fetcher = ServerFetcher(lambda: connect(context, site.endpoint, robot), 2, 0.2)
    with closing(fetcher):
        with pytest.raises(DownloadError, match="no answer"):
            [*fetcher.fetch("targets/weights")]
        fetcher.cancel()
        with pytest.raises(DownloadError, match="cancelled"):
            [*fetcher.fetch("targets/weights")]


def test_a_server_that_comes_and_goes_gets_every_record_once(site, context, tmp_path):
    robot = enrolled(site, "a")
    spool = open_spool(tmp_path / "spool.sqlite")
    sent = 0
    with site.running():
        pass  # learns its port
    with streaming(site, context, robot, spool) as uplink:
        for _ in range(3):
            with site.running() as ingest:

                def some_committed(before=sent, ingest=ingest) -> bool:
                    nonlocal sent
                    if sent < before + 600:
                        spool.append(make_records(sent, 10))
                        sent += 10
                    uplink.step(time.monotonic())
                    uplink.wait(1)
                    return ingest.committed >= 100

                until(some_committed)
            for _ in range(5):  # it records on while nobody listens
                spool.append(make_records(sent, 10))
                sent += 10
                uplink.step(time.monotonic())
        with site.running():
            drain(uplink, spool)
    spool.close()
    with site.store() as store:
        account = store.account("a")
    assert (account.committed, account.holes, account.duplicates) == (sent, 0, 0)
    expected = np.concatenate([make_records(first, 10) for first in range(0, sent, 10)])
    assert site.records("a").tobytes() == expected.tobytes()
    passed_on = np.concatenate([rows for _, rows in site.seen])
    assert passed_on.tobytes() == expected.tobytes()


def test_fifty_robots_at_once(site, context, tmp_path):
    robots = {f"r{number}": enrolled(site, f"r{number}") for number in range(50)}
    spools, uplinks = {}, {}
    with site.running() as ingest:
        for name, identity in robots.items():
            spools[name] = open_spool(tmp_path / f"{name}.sqlite")
            for first in range(0, 200, 50):
                spools[name].append(make_records(first, 50))
            socket = connect(context, site.endpoint, identity)
            window = Window(random.Random(0).random)
            uplinks[name] = (Uplink(socket, spools[name], window, SPEC.digest(), ""), socket)

        def all_delivered() -> bool:
            for uplink, _ in uplinks.values():
                uplink.step(time.monotonic())
            return ingest.committed == 50 * 200

        until(all_delivered)
    for name, (_, socket) in uplinks.items():
        socket.close()
        spools[name].close()
    with site.store() as store:
        assert all(store.account(name).committed == 200 for name in robots)
