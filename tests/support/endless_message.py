"""A peer with a message that comes to no end: ``endless_message.py ENDPOINT STATE``.

A process of its own, for libzmq aborts the process whose connection is cut in the middle of a
message of many frames (``session_base.cpp``: what is left of the message is not there to be
cleaned away). Our robots send single frames and never come there.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import zmq

from onboard.dealer import connect
from onboard.identity import load_identity

FRAMES = [bytes(64 << 10)] * 4000  # 250 MiB, of which the connection is to see a part


@contextmanager
def sending_without_end(endpoint: str, state: Path) -> Iterator[None]:
    """Send as the robot whose keys are in ``state`` while the context lasts."""
    path = [entry for entry in sys.path if entry]
    argv = [sys.executable, __file__, endpoint, str(state)]
    with subprocess.Popen(
        argv, env={"PYTHONPATH": ":".join(path)}, stderr=subprocess.DEVNULL
    ) as child:
        try:
            yield
        finally:
            child.kill()


def main(endpoint: str, state: Path) -> None:
    with zmq.Context() as context, closing(connect(context, endpoint, load_identity(state))) as out:
        out.poll(flags=zmq.POLLOUT)
        out.send_multipart(FRAMES, zmq.DONTWAIT)  # leaves as it is read, from its first frame on
        signal.pause()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
