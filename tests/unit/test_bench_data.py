"""The data benchmark itself: are its numbers what it says they are?"""

from __future__ import annotations

import pickle
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import zmq
from data import backlog, peers
from data.bars import bars
from data.robots import live, written_bytes
from data.site import latencies_ms
from made_records import DTYPE, GENERATION, SPEC

from offboard.episode_store import Delivery, EpisodeStore, open_episode_store
from offboard.keys import enrol_robot, init_server
from onboard.agent import SPOOL_FILE
from onboard.ring import RingWriter
from onboard.spool import open_spool
from onboard.spool_entry import Tail, entries_of

EPOCH = "a" * 32
DRAIN = {"live_dropped": 0, "live_skipped": 0, "rss_mb": 60.0, "robot_rss_mb": 70.0}
DOCUMENT = {
    "records_s": 200_000.0,
    "peer_records_s": {"pickle": 39_000.0, "grpc": 20_000.0},
    "tick_to_ack_ms": {"p50": 500.0, "p99": 1099.0, "max": 2000.0},
    "rss_mb": 120.0,
    "robot_rss_mb": 90.0,
    "drain": [DRAIN, DRAIN],
}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EpisodeStore]:
    with closing(open_episode_store(tmp_path / "episodes.sqlite", SPEC)) as store:
        yield store


def test_a_good_run_meets_every_bar() -> None:
    assert all(bar.met for bar in bars(DOCUMENT))


@pytest.mark.parametrize(
    "worse",
    [
        {"records_s": 99_999.0, "peer_records_s": {"pickle": 1.0}},
        {"tick_to_ack_ms": {"p99": 1101.0}},
        {"peer_records_s": {"pickle": 1.0, "grpc": 40_001.0}},
        {"drain": [DRAIN, DRAIN | {"live_dropped": 1}]},
        {"drain": [DRAIN | {"live_skipped": 1}, DRAIN]},
        {"rss_mb": 257.0},
        {"robot_rss_mb": 257.0},
        {"drain": [DRAIN, DRAIN | {"robot_rss_mb": 103.0}]},
        {"drain": [DRAIN, DRAIN | {"rss_mb": 93.0}]},
    ],
)
def test_each_bar_can_be_missed(worse: dict[str, object]) -> None:
    assert [bar.met for bar in bars(DOCUMENT | worse)].count(False) == 1


def test_latency_is_from_sensing_to_the_first_word_that_covers_the_record(store) -> None:
    """Two batches; the robot hears of both at once, 700 ms after the start."""
    rows = backlog.rows(0, 20, 1)
    rows["sense_ns"] = rows["act_ns"] = np.arange(20) * 10_000_000
    entries = [
        entries_of(part, Tail(record=GENERATION - 1))[0].message(EPOCH, seq)
        for seq, part in ((1, rows[:10]), (2, rows[10:]))
    ]
    store.accept([Delivery("r", EPOCH, entries)])
    found = latencies_ms(store, "r", [(300_000_000, 1), (700_000_000, 2)])
    expected = [300 - 10 * n for n in range(10)] + [700 - 10 * n for n in range(10, 20)]
    np.testing.assert_allclose(found, expected)


def test_an_agent_of_the_benchmark_works_as_the_robots_own_and_ends(tmp_path: Path) -> None:
    """It is given a stand-in for control's side, which must have all that an agent asks of it."""
    state = tmp_path / "state"
    init_server(tmp_path / "server")
    enrol_robot(tmp_path / "server", "r", state)
    ring = tmp_path / "ring"
    with closing(RingWriter(ring, DTYPE, 64, lambda: 1).open()), zmq.Context() as context:
        heard = live(context, "tcp://127.0.0.1:9", state, ring, lambda: True)
    assert heard == []


def test_a_backlog_is_a_spool_of_one_second_batches(tmp_path: Path) -> None:
    state, memory = tmp_path / "state", tmp_path / "memory"
    state.mkdir()
    memory.mkdir()
    backlog.spool(state, 500, memory)
    with closing(open_spool(state / SPOOL_FILE)) as spool:
        counts = [entry.count for entry in spool.unacknowledged(99)]
    assert counts == [backlog.BATCH_RECORDS] * 10


def test_rows_of_a_long_backlog_are_numbered_through() -> None:
    rows = backlog.rows(0, 50_000)
    assert (np.diff(rows["seq"].astype(np.int64)) == 1).all()
    assert rows["seq"][0] == GENERATION
    assert (np.diff(rows["sense_ns"]) > 0).all()


def test_a_peer_keeps_what_it_was_sent_as_durably_as_we_do(tmp_path: Path) -> None:
    path = tmp_path / "peer.sqlite"
    with closing(peers.Table(path)) as table:
        for batch in peers.transitions(150):
            table.keep(pickle.dumps(batch))
        durable = table._connection.execute("PRAGMA synchronous").fetchone()
    assert durable == (2,)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM batches").fetchone() == (3,)


def test_bytes_handed_to_the_disk_are_counted(tmp_path: Path) -> None:
    before = written_bytes()
    (tmp_path / "file").write_bytes(bytes(1 << 20))
    written = written_bytes() - before
    assert written >= 1 << 20 or written == 0  # a tmpfs is no disk
