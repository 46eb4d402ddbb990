"""The server's side of a measurement: real ingest and signed repository, on loopback."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from made_server import Site
from numpy.typing import NDArray

from offboard.ingest import Ingest
from offboard.keys import enrol_robot, load_server_keys
from offboard.publish import Repository, open_repository
from protocol.robot_spec import RobotSpec
from protocol.step_record import Rows, dtype_of
from runtime.network import make_bundle

UNIT = "bench"
FIRST = 1
"""Version of the policy that drives from the start; it replaces nobody."""


class Server:
    """Publishes policies and remembers when, and when they first drove.

    Attributes:
        announced_ns: when each version was announced to the robots.
    """

    def __init__(self, site: Site, ingest: Ingest, repository: Repository, spec: RobotSpec) -> None:
        self._site, self._ingest, self._repository, self._spec = site, ingest, repository, spec
        self.announced_ns: dict[int, int] = {}

    @property
    def endpoint(self) -> str:
        """Where it listens."""
        return self._ingest.endpoint

    def publish(self, version: int) -> None:
        """Sign a new policy, then announce it."""
        self._repository.publish(*make_bundle(self._spec, version))
        self.announced_ns[version] = time.monotonic_ns()
        self._ingest.policy_version = version

    def rows(self) -> Rows:
        """Every record that has arrived."""
        seen = [rows for _, rows in [*self._site.seen]]
        return np.concatenate([np.empty(0, dtype_of(self._spec)), *seen])


@contextmanager
def serving(folder: Path, spec: RobotSpec, state: Path) -> Iterator[Server]:
    """A server in ``folder`` for one robot, which is enrolled in its directory ``state``."""
    site = Site(folder, spec)
    enrol_robot(site.keys, UNIT, state)
    keys = load_server_keys(site.keys)
    repository = open_repository(site.repository, keys.trust)
    with site.running() as ingest:
        yield Server(site, ingest, repository, spec)


def delays_s(rows: Rows, asked_ns: dict[int, int]) -> NDArray[np.float64]:
    """Seconds from ``asked_ns`` of a version to the first record it drove; nothing if it never did.

    A version that a newer one overtook counts with the newer one's first record.
    """
    moments = {}
    for version, at_ns in asked_ns.items():
        drove = rows["sense_ns"][rows["policy_version"] >= version]
        if len(drove):
            moments[version] = 1e-9 * (int(drove.min()) - at_ns)
    return np.array([moments[version] for version in sorted(moments)])
