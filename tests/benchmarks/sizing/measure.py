"""``python -m sizing.measure --out FILE``: measure ingest, and write unit costs with it in place.

Every robot sends a batch of 1 s at 50 Hz, and the next when all have been acknowledged; 1, 10 and
100 robots do so at the same time. Processor time, user's and kernel's, because other work on the
machine lengthens it less than the clock's; the median of the rounds, in microseconds a batch.

- ``ingest_us_per_batch``: of the whole server process of ``data.server``: sockets, CURVE, checks,
  commit on disk, answers. The robots are in another process and not in it, nor is MCAP. How many
  batches share a commit is as it comes.
- ``take_us_per_batch``: of ``Reception.take`` in this process, all of the robots in one commit.

What cannot be measured here is taken over from ``--base``, and so is what is said of its source.
The records are noise, which compresses badly.
"""

from __future__ import annotations

import argparse
import datetime
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from pathlib import Path
from statistics import median

import msgspec
import zmq
from data.backlog import BATCH_RECORDS, rows
from data.site import Site
from made_records import SPEC
from runtime.machine import commit, machine

from offboard.door import Arrival
from offboard.episode_store import open_episode_store
from offboard.reception import Reception
from onboard.dealer import connect
from onboard.identity import load_identity
from onboard.spool_entry import Tail, entries_of
from protocol.messages import Ack, Hello, decode_to_robot, encode
from sizing.__main__ import MEASURED
from sizing.costs import Measured

AT_ONCE = {"10": 1, "1000": 10, "100000": 100}
"""By size of the fleet: robots whose batches arrive together. Shards bound it for the largest."""
BATCHES, ROUNDS = 500, 7
_EPOCH = "a" * 32
_HELLO = encode(Hello(epoch=_EPOCH, robot_digest=SPEC.digest(), task="swing_up", first_held=1))
_PATIENCE_MS = 60_000

Round = Callable[[bytes], None]
"""Gives every robot's next message to the server; returns when all are answered."""
Spent = Callable[[], int]
"""Processor time so far, in nanoseconds."""
Setting = Callable[[Path, int], AbstractContextManager[tuple[Round, Spent]]]


def batches(count: int) -> Iterator[bytes]:
    """Messages 1, 2 … of a robot, a second of 50 Hz in each."""
    for number in range(count):
        (entry,) = entries_of(rows(number * BATCH_RECORDS, BATCH_RECORDS), Tail())
        yield encode(entry.message(_EPOCH, number + 1))


def us_per_batch(give: Round, spent_ns: Spent, robots: int, total: int) -> float:
    """Processor time of each batch of about ``total``, but for the first of each robot."""
    first, *others = batches(1 + max(1, total // robots))
    give(_HELLO)
    give(first)
    began_ns = spent_ns()
    for message in others:
        give(message)
    return 1e-3 * (spent_ns() - began_ns) / (robots * len(others))


@contextmanager
def taking(directory: Path, robots: int) -> Iterator[tuple[Round, Spent]]:
    """Reception and store in this process, without sockets."""
    names = [f"r{number}" for number in range(robots)]
    with closing(open_episode_store(directory / "episodes.sqlite", SPEC)) as store:
        reception = Reception(store, SPEC, directory)

        def give(message: bytes) -> None:
            outcome = reception.take([Arrival(b"route", name, message) for name in names])
            check([encode(reply.message) for reply in outcome.replies], robots)

        yield give, time.process_time_ns


@contextmanager
def serving(directory: Path, robots: int) -> Iterator[tuple[Round, Spent]]:
    """A server process, and robots' sockets in this one."""
    site = Site(directory, robots)
    with site.serving() as pid, zmq.Context() as context, ExitStack() as owned:
        sockets = []
        for state in site.states.values():
            socket = connect(context, site.endpoint, load_identity(state / "keys"))
            sockets.append(owned.enter_context(closing(socket)))
            socket.setsockopt(zmq.SNDTIMEO, _PATIENCE_MS)
            socket.setsockopt(zmq.RCVTIMEO, _PATIENCE_MS)

        def give(message: bytes) -> None:
            for socket in sockets:
                socket.send(message)
            check([socket.recv() for socket in sockets], robots)

        yield give, lambda: processor_ns(pid)


def check(replies: list[bytes], robots: int) -> None:
    """Raises RuntimeError unless every robot was acknowledged: a refusal is cheap."""
    said = [decode_to_robot(reply) for reply in replies]
    wrong = [each for each in said if not isinstance(each, Ack) or each.resend]
    if wrong or len(said) != robots:
        raise RuntimeError(f"{len(said)} answers to {robots} robots, of them {wrong[:1]}")


def processor_ns(pid: int) -> int:
    """Of all threads of a process that are running now, ZeroMQ's among them."""
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(each.read_text(encoding="ascii").split()[0]) for each in threads)


def in_a_folder(setting: Setting, directory: Path, robots: int, total: int) -> float:
    """Microseconds a batch with everything on the disk of ``directory``, for the while."""
    with (
        tempfile.TemporaryDirectory(prefix=".sizing-", dir=directory) as folder,
        setting(Path(folder).resolve(), robots) as (give, spent_ns),
    ):
        return us_per_batch(give, spent_ns, robots, total)


def measured(base: Measured, directory: Path, total: int, rounds: int) -> Measured:
    """``base`` with the costs of ingest as they are here and now."""
    took: dict[str, list[float]] = {fleet: [] for fleet in AT_ONCE}
    served: dict[str, list[float]] = {fleet: [] for fleet in AT_ONCE}
    for _ in range(rounds):
        for fleet, robots in AT_ONCE.items():
            for found, setting in ((took, taking), (served, serving)):
                found[fleet].append(in_a_folder(setting, directory, robots, total))
    print(f"served, µs a batch: {_spread(served)}\ntaken, µs a batch: {_spread(took)}")
    ours = dict.fromkeys(("ingest_us_per_batch", "take_us_per_batch"), here(total, rounds))
    return msgspec.structs.replace(
        base,
        ingest_us_per_batch={fleet: round(median(each)) for fleet, each in served.items()},
        take_us_per_batch={fleet: round(median(each)) for fleet, each in took.items()},
        sources={**base.sources, **ours},
    )


def here(total: int, rounds: int) -> str:
    """By what, where, when and beside what it was measured."""
    found, today = machine(), datetime.datetime.now(datetime.timezone.utc).date()
    return (
        f"python -m sizing.measure, median of {rounds} rounds of {total} batches; {found['cpu']}, "
        f"{found['cores']} cores, load {found['load_average'][0]:.1f}, {today}, commit {commit()}"
    )


def _spread(found: dict[str, list[float]]) -> str:
    return "; ".join(
        f"{AT_ONCE[fleet]} at once {median(each):.0f} ({min(each):.0f}-{max(each):.0f})"
        for fleet, each in found.items()
    )


def main() -> None:
    """The command line."""
    options = _options()
    base = msgspec.json.decode(options.base.read_bytes(), type=Measured)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    found = measured(base, options.out.parent, options.batches, options.rounds)
    text = msgspec.json.format(msgspec.json.encode(found), indent=2)
    options.out.write_bytes(text + b"\n")
    print(options.out)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m sizing.measure")
    parser.add_argument("--out", type=Path, required=True, help="JSON to write; its disk is used")
    parser.add_argument("--base", type=Path, default=MEASURED, help="JSON of the other unit costs")
    parser.add_argument("--batches", type=int, default=BATCHES, help="of a round, at each size")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
