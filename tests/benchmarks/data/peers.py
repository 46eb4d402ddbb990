"""What others do, given the same fsync: ``python -m data.peers KIND FILE`` is the server of one.

**Unsafe, and here only to be compared with**: both unpickle what a client sends.

- ``pickle``: ZeroMQ REQ/REP with pickled batches, the shape of small actor-learner libraries.
- ``grpc``: client streaming with pickled lists of transitions in chunks of 2 MB, the shape of
  LeRobot's ``SendTransitions`` (``lerobot/transport``); the stream's only answer ends it.

Both get 50 records a message and make them as durable as our server does: SQLite, WAL,
``synchronous=FULL``. They commit each message by itself, as their own design answers or streams
them; ours commits all that has arrived, up to 128 messages, at once (``offboard/door.py``). Their
records wait in memory and need not be read from a spool.
"""

from __future__ import annotations

import pickle
import sqlite3
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import zmq

from data.backlog import BATCH_RECORDS, rows
from data.site import start

_CHUNK_BYTES = 2 << 20
_METHOD = "/peer.Learner/SendTransitions"
_LAST, _MORE = b"\x01", b"\x00"


class Table:
    """Batches, each durable when :meth:`keep` returns, unless ``volatile``."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        for pragma in ("locking_mode = EXCLUSIVE", "journal_mode = WAL", "synchronous = FULL"):
            self._connection.execute(f"PRAGMA {pragma}")
        self._connection.execute("CREATE TABLE batches (number INTEGER PRIMARY KEY, data BLOB)")

    def keep(self, data: bytes) -> None:
        """Unpickled, as a learner would, and stored."""
        assert len(pickle.loads(data)) == BATCH_RECORDS
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.execute("INSERT INTO batches (data) VALUES (?)", (data,))
        self._connection.execute("COMMIT")

    def close(self) -> None:
        self._connection.close()


def records_s(kind: str, directory: Path, records: int) -> float:
    """Records a second from a client's memory to durable on the server and acknowledged."""
    batches = transitions(records)
    server = start("data.peers", kind, directory / f"{kind}.sqlite")
    try:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        began_s = time.perf_counter()
        {"pickle": send_by_request, "grpc": send_by_stream}[kind](port, batches)
        return records / (time.perf_counter() - began_s)
    finally:
        server.kill()  # asked to end, a REP socket may wait for ever for a client that is gone
        server.communicate(timeout=60.0)


def transitions(records: int) -> list[list[dict[str, Any]]]:
    """The records of our own benchmark as those peers hold them: dicts of arrays."""
    made = rows(0, records)
    names = made.dtype.names or ()
    as_dicts = [{name: row[name] for name in names} for row in made]
    return [as_dicts[first : first + BATCH_RECORDS] for first in range(0, records, BATCH_RECORDS)]


def send_by_request(port: int, batches: list[list[dict[str, Any]]]) -> None:
    """Ask, wait, ask."""
    with zmq.Context() as context, closing(context.socket(zmq.REQ)) as socket:
        socket.connect(f"tcp://127.0.0.1:{port}")
        for batch in batches:
            socket.send(pickle.dumps(batch))
            socket.recv()


def send_by_stream(port: int, batches: list[list[dict[str, Any]]]) -> None:
    """One stream, one answer."""
    import grpc

    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        channel.stream_unary(_METHOD)(chunk for batch in batches for chunk in _chunks(batch))


def _chunks(batch: list[dict[str, Any]]) -> Iterator[bytes]:
    data = pickle.dumps(batch)
    for first in range(0, len(data), _CHUNK_BYTES):
        last = first + _CHUNK_BYTES >= len(data)
        yield (_LAST if last else _MORE) + data[first : first + _CHUNK_BYTES]


def answer_requests(table: Table) -> None:
    """Until killed."""
    with zmq.Context() as context, closing(context.socket(zmq.REP)) as socket:
        print(socket.bind_to_random_port("tcp://127.0.0.1"), flush=True)
        while True:
            table.keep(socket.recv())
            socket.send(b"")


def answer_streams(table: Table) -> None:
    """Until killed."""
    import grpc

    def take(chunks: Iterator[bytes], context: Any) -> bytes:
        data = bytearray()
        for chunk in chunks:
            data += chunk[1:]
            if chunk[:1] == _LAST:
                table.keep(bytes(data))
                data.clear()
        return b""

    server = grpc.server(ThreadPoolExecutor(1))
    handlers = {"SendTransitions": grpc.stream_unary_rpc_method_handler(take)}
    handler = grpc.method_handlers_generic_handler("peer.Learner", handlers)
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    threading.Event().wait()


def main() -> None:
    """The command line of a server."""
    with closing(Table(Path(sys.argv[2]))) as table:
        {"pickle": answer_requests, "grpc": answer_streams}[sys.argv[1]](table)


if __name__ == "__main__":
    main()
