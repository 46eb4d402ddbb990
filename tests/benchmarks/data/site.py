"""A server and robots with keys on a disk, and the programs that are measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from made_records import ROBOT_FILE, SPEC

from data.server import CATALOGUE, KEYS
from offboard.episode_store import EpisodeStore, open_episode_store
from offboard.keys import enrol_robot, init_server
from offboard.record_account import Account

Json = dict[str, Any]
_PATIENCE_S = 600.0


class Cost(NamedTuple):
    """Of a server process so far."""

    rss_mb: float
    written_bytes: int


def start(*arguments: object) -> subprocess.Popen[str]:
    """A Python program of ours with its output at hand."""
    return subprocess.Popen(
        [sys.executable, "-m", *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        cwd=ROBOT_FILE.parents[1],
        stdout=subprocess.PIPE,
        text=True,
    )


def result(process: subprocess.Popen[str]) -> Json:
    """What it said in the end. Raises RuntimeError if it failed."""
    said, _ = process.communicate(timeout=_PATIENCE_S)
    if process.returncode != 0:
        raise RuntimeError(f"{process.args} ended with status {process.returncode}")
    found: Json = json.loads(said)
    return found


class Site:
    """Fresh directories for one measurement.

    Attributes:
        states: the robots' state directories, by name.
        endpoint: where the server listens, once it runs.
    """

    def __init__(self, directory: Path, robots: int) -> None:
        self._server = directory / "server"
        self._server.mkdir(parents=True)
        init_server(self._server / KEYS)
        self.states = {f"r{number}": directory / f"r{number}" for number in range(robots)}
        for name, state in self.states.items():
            enrol_robot(self._server / KEYS, name, state)
        self.endpoint = ""

    @contextmanager
    def serving(self) -> Iterator[int]:
        """The server's process id while it runs."""
        process = start("data.server", self._server)
        try:
            assert process.stdout is not None
            self.endpoint = process.stdout.readline().strip()
            yield process.pid
        finally:
            process.terminate()
            process.communicate(timeout=_PATIENCE_S)

    def robots(self, *options: object) -> subprocess.Popen[str]:
        """All of them, at work."""
        states = self.states.values()
        return start("data.robots", "--endpoint", self.endpoint, *options, *states)

    @contextmanager
    def store(self) -> Iterator[EpisodeStore]:
        """What the server has, while it does not run."""
        with closing(open_episode_store(self._server / CATALOGUE, SPEC)) as store:
            yield store

    def check(self, records: int) -> None:
        """Raises RuntimeError unless every robot's records are all there, once."""
        with self.store() as store:
            for name in self.states:
                account: Account = store.account(name)
                if (account.committed, account.holes, account.duplicates) != (records, 0, 0):
                    raise RuntimeError(f"{name}: {account} instead of {records} records")


def cost(pid: int) -> Cost:
    """Peak memory and bytes written of a running process."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").split()
    written = Path(f"/proc/{pid}/io").read_text(encoding="ascii").split()
    return Cost(
        int(status[status.index("VmHWM:") + 1]) / 1024,
        int(written[written.index("write_bytes:") + 1]),
    )


def latencies_ms(store: EpisodeStore, robot: str, heard: list[tuple[int, int]]) -> np.ndarray:
    """(N,) from each record's sensing to the robot's hearing that it is durable."""
    when_ns, entry = np.asarray(heard, np.int64).T
    spans = store._database.rows("SELECT seq, first_record, records FROM batches ORDER BY seq")
    sensed_ns = {
        int(row["seq"]): int(row["sense_ns"]) for part in store.rows(robot) for row in part
    }
    found = [
        when_ns[np.searchsorted(entry, seq)] - sensed_ns[number]
        for seq, first, count in spans
        for number in range(first, first + count)
        if number in sensed_ns
    ]
    return np.asarray(found) * 1e-6
