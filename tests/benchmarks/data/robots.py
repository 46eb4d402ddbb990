"""``python -m data.robots``: agents without a control beside them, until all is delivered.

The parts are those of ``wombet-onboard agent``, many of them in one process if there are many state
directories. Says, as JSON: ``records`` acknowledged after ``seconds``, peak memory, bytes written,
and when which entry was acknowledged (monotonic ns).
"""

from __future__ import annotations

import argparse
import io
import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import zmq
from made_records import DTYPE, SPEC

from onboard.agent import SPOOL_FILE, Agent
from onboard.collector import Collector
from onboard.dealer import connect
from onboard.event_log import EventLog
from onboard.identity import load_identity
from onboard.ring import RingReader
from onboard.silence import Silence
from onboard.spool import Spool, open_spool
from onboard.uplink import Uplink
from onboard.window import Window

_QUOTA_BYTES = 1 << 32
_POLL_MS = 10


class Nobody:
    """In the place of the liaison: there is no control to talk to."""

    def step(self, now_s: float) -> None:
        """Nothing is due."""

    def take_leave(self) -> None:
        """Nobody to part from."""


@contextmanager
def streaming(
    context: zmq.Context, endpoint: str, state: Path
) -> Iterator[tuple[Spool, Uplink, zmq.Socket]]:
    """One robot's spool and the way to its server."""
    with (
        closing(open_spool(state / SPOOL_FILE, _QUOTA_BYTES)) as spool,
        closing(connect(context, endpoint, load_identity(state / "keys"))) as socket,
    ):
        yield spool, Uplink(socket, spool, Window(random.random), SPEC.digest(), "swing_up"), socket


def drain(context: zmq.Context, endpoint: str, states: list[Path]) -> None:
    """Every robot's turn comes whenever one of them has heard something."""
    with ExitStack() as owned:
        robots = [owned.enter_context(streaming(context, endpoint, state)) for state in states]
        poller = zmq.Poller()
        while held := [robot for robot in robots if robot[0].first_held <= robot[0].newest]:
            for _, uplink, socket in held:
                uplink.step(time.monotonic())
                poller.register(socket, uplink.awaits)
            poller.poll(_POLL_MS)


def live(
    context: zmq.Context, endpoint: str, state: Path, ring: Path, ended: Callable[[], bool]
) -> list[tuple[int, int]]:
    """One robot's agent at a ring until ``ended()`` and all is delivered.

    Returns:
        (ns, entry): when everything up to that entry had been acknowledged.
    """
    heard, stop = [(0, 0)], threading.Event()
    with (
        streaming(context, endpoint, state) as (spool, uplink, _),
        closing(RingReader(ring, DTYPE)) as reader,
    ):
        log = EventLog(io.StringIO(), time.time)
        agent = Agent(Collector(reader, spool), uplink, Nobody(), spool, log, Silence(endpoint))

        def after_turn(now_ns: int) -> None:
            if spool.first_held - 1 > heard[-1][1]:
                heard.append((now_ns, spool.first_held - 1))
            if ended() and spool.first_held > spool.newest and len(reader.peek(1)) == 0:
                stop.set()

        agent.run(stop, time.monotonic, after_turn)
    return heard[1:]


def written_bytes() -> int:
    """What this process has handed to the disk."""
    fields = Path("/proc/self/io").read_text(encoding="ascii").split()
    return int(fields[fields.index("write_bytes:") + 1])


def peak_mb() -> float:
    """The most memory of this very program: ``ru_maxrss`` would begin with that of its parent."""
    fields = Path("/proc/self/status").read_text(encoding="ascii").split()
    return int(fields[fields.index("VmHWM:") + 1]) / 1024


def main() -> None:
    """The command line."""
    options = _options()
    before, began_s = written_bytes(), time.monotonic()
    heard: list[tuple[int, int]] = []
    with zmq.Context() as context:
        if options.ring:
            state, done = options.states[0], options.ring.with_name("done")
            heard = live(context, options.endpoint, state, options.ring, done.exists)
        else:
            drain(context, options.endpoint, options.states)
    seconds = time.monotonic() - began_s
    print(
        json.dumps(
            {
                "began_ns": round(began_s * 1e9),
                "seconds": seconds,
                "rss_mb": peak_mb(),
                "written_bytes": written_bytes() - before,
                "heard": heard,
            }
        )
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m data.robots")
    parser.add_argument("--endpoint", required=True)
    parser.add_argument("--ring", type=Path)
    parser.add_argument("states", type=Path, nargs="+")
    return parser.parse_args()


if __name__ == "__main__":
    main()
