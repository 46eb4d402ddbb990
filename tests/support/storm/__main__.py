"""``python -m storm --out DIR --kills N``: break everything, then see whether anything is missing.

A robot's agent and a server's ingest are real processes with real keys; between them is a proxy,
under each a disk small enough to be filled. Records come from a process that fills the ring in the
place of control, for which no robot is needed. ``DIR/chaos.json`` says under ``counted`` what each
of its numbers is. Anything ``undeclared``, ``duplicated``, ``reordered`` or ``corrupted`` makes the
exit status 1.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from made_records import SPEC

from offboard.episode_store import EpisodeStore, open_episode_store
from storm.course import COURSES, Course
from storm.disk import SmallDisk, enter_namespace
from storm.faults import Faults
from storm.judge import Stored, Verdict, judge
from storm.proxy import Proxy
from storm.site import ROBOT, Site
from storm.source import rows

MEMORY = Path("/dev/shm")
ROBOT_DISK_BYTES, SERVER_DISK_BYTES = 4 << 20, 48 << 20
PATIENCE_S = 300.0
ROWS_PER_S = 250.0
COUNTED = {
    "kills": "processes ended by SIGKILL: the robot's agent, the server, and the source of records",
    "faults": "how often each kind struck, kills among them; a calm is none and is counted too",
    "produced": "records the source put into the ring; it stands in for control, which never ran",
    "committed": "different records the server's store reads back in the end",
    "lost": "produced records that are not committed",
    "undeclared": "lost records of which no gap speaks",
    "duplicated": "records the store reads back a second time",
    "reordered": "records the store reads back before one of a lower number",
    "corrupted": "records read back that are not, bit by bit, those that were produced",
    "gaps_declared": "gaps on record, each of any number of records",
    "lost_to": "lost records by the reason of the gap that speaks of them",
    "ended_by_itself": "processes that ended without being killed",
}


def storm(
    folder: Path,
    memory: Path,
    kills: int,
    seed: int,
    course: Course,
    no_disks: str,
    other: Mapping[str, Path],
) -> dict[str, Any]:
    """The whole of it; what it did and what was found."""
    chance = random.Random(seed)
    with ExitStack() as owned:
        disks = {} if no_disks else _disks(folder, owned)
        site = Site(folder / "robot" / "state", folder / "server" / "data", memory, folder / "logs")
        proxy = owned.enter_context(Proxy(site.server_port, random.Random(seed)))
        site.staff(proxy.port, ROWS_PER_S, other)
        for member in site.crew:
            owned.callback(member.kill)
        site.start()
        start_s = _until(site.streaming)
        faults = Faults(site, proxy, disks, chance, course, course.calm_starts * start_s)
        while site.kills < kills:
            time.sleep(chance.uniform(0.0, course.pause_starts * start_s))
            faults.strike()
        for _ in faults.owed():
            time.sleep(course.pause_starts * start_s)
        killed = site.kills
        faults.end()
        _recover(site, start_s)
        verdict = _verdict(site)
        return {
            "counted": COUNTED,
            "kills": killed,
            "faults": {name: count for name, count in sorted(faults.counts.items()) if count},
            **asdict(verdict),
            "holds": verdict.holds,
            "seed": seed,
            "course": asdict(course),
            "ended_by_itself": {"agent": site.agent.deaths, "server": site.server.deaths},
            "left_out": no_disks,
            "other_release": [*other],
        }


def _disks(folder: Path, owned: ExitStack) -> dict[str, SmallDisk]:
    disks = {
        "robot": SmallDisk(folder / "robot", ROBOT_DISK_BYTES),
        "server": SmallDisk(folder / "server", SERVER_DISK_BYTES),
    }
    for disk in disks.values():
        disk.mount()
        owned.callback(disk.unmount)
    return disks


def _recover(site: Site, start_s: float) -> None:
    """Let everybody work until nothing is left to deliver. Raises TimeoutError if that fails."""
    goal = site.produced() + ROWS_PER_S  # rows after the last loss show that it was one
    _until(lambda: site.produced() > goal)
    site.source.end()
    _until(lambda: _delivered(site, start_s))
    site.server.end()


def _delivered(site: Site, start_s: float) -> bool:
    site.server.start()
    site.agent.start()
    time.sleep(2.0 * start_s)
    site.agent.end()
    return site.pending() == 0


def _until(condition: Callable[[], bool]) -> float:
    """Wait for something that must happen; how long it took. Raises TimeoutError."""
    began_s = time.monotonic()
    while not condition():
        if time.monotonic() > began_s + PATIENCE_S:
            raise TimeoutError(f"{condition} is not so after {PATIENCE_S:.0f} s")
        time.sleep(0.05)
    return time.monotonic() - began_s


def _verdict(site: Site) -> Verdict:
    with closing(open_episode_store(site.catalogue, SPEC)) as store:
        store.examine()
        return judge(
            site.produced(), rows, [*store.rows(ROBOT)], _batches(store), store.gaps(ROBOT)
        )


def _batches(store: EpisodeStore) -> list[Stored]:
    """Straight from the tables: the judge believes nobody."""
    found = store._database.rows(
        "SELECT id, epoch, seq, first_record, records FROM batches ORDER BY id"
    )
    return [Stored(*row) for row in found]


def main() -> None:
    """The command line."""
    options = _options()
    no_disks = enter_namespace()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everybody is stopped
    options.out.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".storm-", dir=options.out)).resolve()
    memory = Path(tempfile.mkdtemp(prefix="wombet-storm-", dir=MEMORY))
    try:
        course = COURSES[options.course]
        other = {options.other: options.tree.resolve()} if options.other else {}
        found = storm(folder, memory, options.kills, options.seed, course, no_disks, other)
    finally:
        shutil.copytree(folder / "logs", options.out / "logs", dirs_exist_ok=True)
        shutil.rmtree(folder)
        shutil.rmtree(memory)
    text = json.dumps(found, indent=2)
    (options.out / "chaos.json").write_text(text + "\n", encoding="utf-8")
    print(text)
    sys.exit(0 if found["holds"] else 1)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m storm", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/chaos"))
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--course", choices=COURSES, default="steady")
    parser.add_argument("--other", choices=("agent", "server"), help="who runs from --tree")
    parser.add_argument("--tree", type=Path, help="source tree of another release")
    return parser.parse_args()


if __name__ == "__main__":
    main()
