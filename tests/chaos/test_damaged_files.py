"""Bits flip and ends go missing, everywhere in every file: nothing is lost without a word."""

from __future__ import annotations

import random
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
import pytest
from made_link import Link, Robot, Server
from made_records import SPEC
from storm.damage import flip_bit
from storm.judge import Stored, Verdict, judge
from storm.source import rows

from offboard.episode_store import open_episode_store
from protocol.errors import StoreError

BATCHES, BATCH_RECORDS, DELIVERED = 24, 20, 9
FLIPS, CUTS = 40, 12
PATIENCE_S = 200.0
MARKS = re.compile(rb"acknowledged|newest|tail|spooled|[0-9a-f]{32}")
SHARED_MEMORY = Path("/dev/shm")
Hurt = Callable[[Path, int], None]


class Pair:
    """A robot and a server in a directory; the robot goes on where its ring stands."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.spool, self.catalogue = directory / "spool.sqlite", directory / "episodes.sqlite"
        self.link = Link()
        self.now_s = 0.0

    def __enter__(self) -> Pair:
        self.server = Server(self.catalogue)
        self.robot = Robot(self.spool, self.link)
        return self

    def __exit__(self, *_: object) -> None:
        self.robot.stop()
        self.server.stop()

    def spool_batches(self, first: int, count: int) -> None:
        for batch in range(first, first + count):
            self.robot.ring = rows(batch * BATCH_RECORDS, BATCH_RECORDS)
            self.robot.collect()

    def talk(self, turns: int, messages: int = 99) -> None:
        for _ in range(turns):
            with suppress(StoreError):
                self.robot.uplink.step(self.now_s)
            self.server.handle(self.link, messages)
            self.now_s += 1.0

    @property
    def pending(self) -> int:
        return self.robot.spool.newest + 1 - self.robot.spool.first_held

    def verdict(self, produced: int) -> Verdict:
        store = self.server.store
        store.examine()
        batches = store._database.rows(
            "SELECT id, epoch, seq, first_record, records FROM batches ORDER BY id"
        )
        read, stored = [*store.rows("r")], [Stored(*batch) for batch in batches]
        return judge(produced, rows, read, stored, store.gaps("r"))


@pytest.fixture(scope="module")
def memory() -> Iterator[Path]:
    """A directory where syncing costs nothing."""
    place = SHARED_MEMORY if SHARED_MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(dir=place) as directory:
        yield Path(directory)


@pytest.fixture(scope="module")
def left(memory: Path) -> dict[str, Path]:
    """What a robot and a server leave in the middle: ``killed`` with logs, ``ended`` without."""
    return {how: left_behind(memory, how) for how in ("killed", "ended")}


def left_behind(memory: Path, how: str) -> Path:
    live, left = memory / f"live-{how}", memory / how
    live.mkdir()
    left.mkdir()
    with Pair(live) as pair:
        pair.spool_batches(0, DELIVERED)
        pair.talk(6)
        shutil.copyfile(pair.catalogue, left / "backup.sqlite")
        pair.spool_batches(DELIVERED, BATCHES - DELIVERED)
        pair.talk(2, messages=2)
        if how == "killed":
            copy_files(live, left)
    if how == "ended":
        copy_files(live, left)
    return left


def copy_files(source: Path, target: Path) -> None:
    for path in source.iterdir():
        shutil.copyfile(path, target / path.name)


def goes_on(directory: Path) -> Verdict:
    """Start both, make some more records, deliver everything, judge."""
    with Pair(directory) as pair:
        pair.spool_batches(BATCHES, 3)
        while pair.now_s < PATIENCE_S and pair.pending:
            pair.talk(1)
        assert not pair.pending, "the stream is wedged"
        return pair.verdict((BATCHES + 3) * BATCH_RECORDS)


def flipped(path: Path, at: int) -> None:
    flip_bit(path, at, bit=at % 8)


def cut(path: Path, at: int) -> None:
    with path.open("r+b") as file:
        file.truncate(at)


def places(path: Path, count: int) -> list[int]:
    """Offsets all over the file, and close by whatever matters most: its header, notes, streams."""
    data, chance = path.read_bytes(), random.Random(count)
    marks = [match.end() for match in MARKS.finditer(data)]
    near = [at + beyond for at in chance.sample(marks, min(len(marks), count)) for beyond in (0, 2)]
    pages = [at + chance.randrange(12) for at in range(0, len(data), 4096)]
    spread = np.linspace(0, len(data) - 1, count, dtype=int).tolist()
    chosen = {*range(16, 100, 12), *pages[:count], *near, *spread}
    return sorted(at for at in chosen if at < len(data))


def bad_verdict(directory: Path, left: Path, name: str, at: int, hurt: Hurt) -> Verdict | None:
    """The verdict if it is a bad one."""
    shutil.rmtree(directory, ignore_errors=True)
    shutil.copytree(left, directory)
    hurt(directory / name, at)
    catalogue = directory / "episodes.sqlite"
    if name.startswith(catalogue.name) and not usable(catalogue):
        (directory / f"{catalogue.name}-wal").unlink(missing_ok=True)
        shutil.copyfile(directory / "backup.sqlite", catalogue)
    verdict = goes_on(directory)
    return None if verdict.holds else verdict


@pytest.mark.parametrize("how", ["killed", "ended"])
def test_undamaged_files_go_on_and_lose_nothing(left, how: str):
    verdict = goes_on(left_copy(left[how]))
    assert verdict.holds
    assert (verdict.lost, verdict.gaps_declared) == (0, 0)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("hurt", "count"), [(flipped, FLIPS), (cut, CUTS)])
@pytest.mark.parametrize(
    ("how", "name"),
    [
        ("ended", "spool.sqlite"),
        ("killed", "spool.sqlite-wal"),
        ("ended", "episodes.sqlite"),
        ("killed", "episodes.sqlite-wal"),
    ],
)
def test_a_damaged_file_loses_nothing_without_a_gap(
    left, memory, how: str, name: str, hurt: Hurt, count: int
):
    """A catalogue beyond mending is restored from the backup, as an operator would."""
    places_ = places(left[how] / name, count)
    verdicts = {at: bad_verdict(memory / "copy", left[how], name, at, hurt) for at in places_}
    assert not {at: verdict for at, verdict in verdicts.items() if verdict is not None}


def left_copy(left: Path) -> Path:
    return shutil.copytree(left, left.with_name(f"{left.name}-copy"))


def usable(catalogue: Path) -> bool:
    """What an operator finds out after a disk has lied."""
    try:
        with closing(open_episode_store(catalogue, SPEC)) as store:
            store.examine()
    except StoreError:
        return False
    return True
