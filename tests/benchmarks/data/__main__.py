"""``python -m data --out DIR``: measure everything, write ``DIR/data.json``.

``records_s`` is one robot's backlog of batches as they are made at 50 Hz, from its spool on disk to
committed on the server and acknowledged; median of the rounds, between which the peers take their
turns. ``drain`` is the same for an hour's and ten hours' backlog while a ring is filled at 50 Hz.
``robots50_records_s`` is fifty robots' backlogs at once; their spools share the server's disk.
``tick_to_ack_ms`` is a robot with nothing in arrears. ``write_amplification`` is bytes handed to
the disk, by agent and server together, per byte of record, then. ``spool_records_s`` is a spool
alone, a commit for every 50 records. ``rss_mb`` is the most memory any server took, in ``drain``
the server of that backlog; ``robot_rss_mb`` the same of the agents. Every measurement ends with
an account of its records.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from made_records import DTYPE
from runtime.machine import ROOT, commit, machine
from runtime.percentiles import percentiles

from data import backlog, peers
from data.bars import bars
from data.site import Json, Site, cost, latencies_ms, result, start

MEMORY = Path("/dev/shm")
PEERS = ("pickle", "grpc")
RATE_HZ = 50
HOUR_RECORDS = 3600 * RATE_HZ
ROBOTS = 50


class Bench:
    """One run: everything in turn, nothing at the same time.

    Attributes:
        rss_mb: the most any server process took.
        robot_rss_mb: the most any process of agents took.
    """

    def __init__(self, out: Path, memory: Path, scale: float) -> None:
        self._out, self._memory, self._scale = out, memory, scale
        self.rss_mb = self.robot_rss_mb = 0.0

    def run(self, rounds: int) -> Json:
        """The whole document."""
        measured = self._rounds(rounds)
        document: Json = {
            "records_s": median(measured.pop("ours")),
            "peer_records_s": {name: median(found) for name, found in measured.items()},
            **self._live(),
            "robots50_records_s": self._crowd(),
            "drain": [self._drain(hours) for hours in (1, 10)],
            "spool_records_s": self._spooling(),
            "rss_mb": self.rss_mb,
            "robot_rss_mb": self.robot_rss_mb,
            "record_bytes": DTYPE.itemsize,
            "machine": machine(),
            "commit": commit(),
        }
        document["bars"] = [bar._asdict() for bar in bars(document)]
        return document

    def _rounds(self, rounds: int) -> dict[str, list[float]]:
        found: dict[str, list[float]] = {name: [] for name in ("ours", *PEERS)}
        for _ in range(rounds):
            found["ours"].append(self._delivered(1, self._records(400_000)))
            for kind in PEERS:
                with self._folder() as folder:
                    found[kind].append(peers.records_s(kind, folder, self._records(50_000)))
        return found

    def _crowd(self) -> float:
        return self._delivered(ROBOTS, self._records(20_000))

    def _delivered(self, robots: int, records: int) -> float:
        """Records a second of so many robots with a backlog of ``records`` each."""
        with self._folder() as folder:
            site = Site(folder, robots)
            for state in site.states.values():
                backlog.spool(state, records, self._memory)
            with site.serving() as pid:
                found = result(site.robots())
                self._note(pid, found)
            site.check(records)
        return robots * records / found["seconds"]

    def _drain(self, hours: int) -> Json:
        """One robot's backlog, its ring being filled meanwhile."""
        records = self._records(hours * HOUR_RECORDS)
        with self._folder() as folder:
            site = Site(folder, 1)
            backlog.spool(site.states["r0"], records, self._memory)
            found, ticks = self._at_a_ring(site, seconds=20.0)
            site.check(records + ticks["produced"])
        last = -(-records // backlog.BATCH_RECORDS)
        done_ns = next(when_ns for when_ns, entry in found["heard"] if entry >= last)
        return {
            "backlog_records": records,
            "records_s": records / (1e-9 * (done_ns - found["began_ns"])),
            "live_records": ticks["produced"],
            "live_dropped": ticks["dropped"],
            "live_skipped": ticks["skipped"],
            "rss_mb": found["server_rss_mb"],
            "robot_rss_mb": found["rss_mb"],
        }

    def _live(self) -> Json:
        """A robot with nothing in arrears."""
        with self._folder() as folder:
            site = Site(folder, 1)
            found, ticks = self._at_a_ring(site, seconds=max(5.0, 60.0 * self._scale))
            site.check(ticks["produced"])
            with site.store() as store:
                latency_ms = latencies_ms(store, "r0", found["heard"])
        size = ticks["produced"] * DTYPE.itemsize
        return {
            "tick_to_ack_ms": percentiles(latency_ms, "p50", "p99", "max"),
            "write_amplification": found["written_bytes"] / size,
        }

    def _at_a_ring(self, site: Site, seconds: float) -> tuple[Json, Json]:
        ring, done = self._memory / "ring", self._memory / "done"
        with site.serving() as pid:
            written = cost(pid).written_bytes
            robot = site.robots("--ring", ring)
            ticks = result(start("data.ticks", ring, RATE_HZ, seconds))
            done.touch()
            found = result(robot)
            found["server_rss_mb"] = self._note(pid, found)
            found["written_bytes"] += cost(pid).written_bytes - written
        ring.unlink()
        done.unlink()
        return found, ticks

    def _spooling(self) -> float:
        with self._folder() as folder:
            return backlog.spooling_records_s(folder, self._records(20_000))

    def _note(self, pid: int, found: Json) -> float:
        """Peak memory of a server, and what its robots say of theirs; returns the former."""
        rss_mb = cost(pid).rss_mb
        self.rss_mb = max(self.rss_mb, rss_mb)
        self.robot_rss_mb = max(self.robot_rss_mb, found["rss_mb"])
        return rss_mb

    def _records(self, count: int) -> int:
        whole = round(count * self._scale) // backlog.BATCH_RECORDS
        return backlog.BATCH_RECORDS * max(1, whole)

    @contextmanager
    def _folder(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix=".data-", dir=self._out) as folder:
            yield Path(folder).resolve()


def main() -> None:
    """The command line."""
    options = _options()
    options.out.mkdir(parents=True, exist_ok=True)
    memory = Path(tempfile.mkdtemp(prefix="wombet-data-", dir=MEMORY))
    try:
        document = Bench(options.out, memory, options.scale).run(options.rounds)
    finally:
        shutil.rmtree(memory)
    path = options.out / "data.json"
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    for bar in document["bars"]:
        verdict = "ok  " if bar["met"] else "MISS"
        print(f"{verdict} {bar['name']}: {bar['value']:.1f}, bar {bar['limit']:g}")
    print(path)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m data", description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "bench-data")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="of all numbers of records")
    return parser.parse_args()


if __name__ == "__main__":
    main()
