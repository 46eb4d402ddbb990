"""A robot's uplink and a server's reception with a link between them that a test can hurt."""

from __future__ import annotations

import shutil
from collections import deque
from pathlib import Path

import numpy as np
import zmq
from made_records import DTYPE, SPEC

from offboard.door import Arrival
from offboard.episode_store import EpisodeStore, open_episode_store
from offboard.reception import Reception
from onboard.spool import Spool, open_spool
from onboard.uplink import Uplink
from onboard.window import Window
from protocol.messages import encode
from protocol.step_record import Rows

QUEUE = 16


class Link:
    """Two queues in place of a DEALER and the network; what ZeroMQ promises, and no more."""

    def __init__(self) -> None:
        self.to_server: deque[bytes] = deque()
        self.to_robot: deque[bytes] = deque()

    def send(self, data: bytes, flags: int) -> None:
        if len(self.to_server) >= QUEUE:
            raise zmq.Again
        self.to_server.append(data)

    def recv_multipart(self, flags: int) -> list[bytes]:
        if not self.to_robot:
            raise zmq.Again
        return [self.to_robot.popleft()]

    def cut(self) -> None:
        """Everything in flight is lost, as when either end restarts."""
        self.to_server.clear()
        self.to_robot.clear()


class Server:
    """Reception over a catalogue file that survives it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.start()

    def start(self) -> None:
        self.store = open_episode_store(self.path, SPEC)
        self.reception = Reception(self.store, SPEC, self.path.parent)

    def stop(self) -> None:
        self.store.close()

    def handle(self, link: Link, count: int) -> None:
        """Take up to ``count`` messages at once, as one turn of the door does."""
        data = [link.to_server.popleft() for _ in range(min(count, len(link.to_server)))]
        outcome = self.reception.take([Arrival(b"route", "r", message) for message in data])
        link.to_robot.extend(encode(reply.message) for reply in outcome.replies)

    def copy(self, source: Path, target: Path) -> None:
        self.stop()
        shutil.copyfile(source, target)
        self.start()

    def fill_disk(self) -> None:
        """No page more, until the next start."""
        no_growth(self.store)

    def records(self) -> Rows:
        """Everything committed, in record order."""
        return np.concatenate([np.empty(0, DTYPE), *self.store.rows("r")])


class Robot:
    """Spool and uplink over a spool file that survives them; the ring is a list of rows."""

    def __init__(self, path: Path, link: Link) -> None:
        self.path = path
        self.link = link
        self.ring = np.empty(0, DTYPE)
        self.start(1 << 20)

    def start(self, quota_bytes: int) -> None:
        self.spool = open_spool(self.path, quota_bytes)
        window = Window(lambda: 0.5, size=4)
        self.uplink = Uplink(self.link, self.spool, window, SPEC.digest(), "swing_up")

    def stop(self) -> None:
        """As a kill does: nothing is tidied up."""
        self.spool._database.close()

    def copy(self, source: Path, target: Path) -> None:
        self.stop()
        shutil.copyfile(source, target)
        self.start(1 << 20)

    def fill_disk(self) -> None:
        """No page more, until the next start."""
        no_growth(self.spool)

    def collect(self, release: bool = True) -> None:
        """Ring to spool; without ``release``, killed in between."""
        self.spool.append(self.ring)
        if release:
            self.ring = self.ring[len(self.ring) :]


def no_growth(owner: Spool | EpisodeStore) -> None:
    """SQLite's own limit raises what a full disk raises."""
    owner._database.rows("PRAGMA max_page_count = 1")
