"""``wombet-sim plant`` in a process of its own, and who speaks to it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
_ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
_PYTHON = (sys.executable, "-m")


@contextmanager
def running_plant(robot: str, link: Path, *options: str | Path) -> Iterator[subprocess.Popen[str]]:
    """The plant of ``hw_configs/ROBOT.toml`` behind ``link``, ready to be spoken to."""
    process = subprocess.Popen(
        [*_PYTHON, "sim_harness.main", "plant", *_file(robot), "--link", link, *options],
        cwd=ROOT,
        env=_ENVIRONMENT,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout is not None
            assert f"{robot}/nominal" in process.stdout.readline()
            yield process
        finally:
            process.kill()


def self_test(robot: str, directory: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """What ``wombet-onboard selftest`` has to say of a plant of its own."""
    link = directory / "bus"
    places = ["--state", directory, "--runtime", directory / "runtime"]
    with running_plant(robot, link):
        return subprocess.run(
            [
                *(*_PYTHON, "onboard.main", "selftest", *_file(robot)),
                *("--port", link, *places, *options),
            ],
            cwd=ROOT,
            env=_ENVIRONMENT,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )


class Patience:
    """Mixed into an SDK's port: 34 ms of wall time are too little on a busy test machine.

    Source: FLEET.md § 8, faults of the SDK.
    """

    def setPacketTimeout(self, packet_length: int) -> None:  # noqa: N802
        """Half a second for any packet."""
        self.setPacketTimeoutMillis(500.0)  # type: ignore[attr-defined]

    def getCurrentTime(self) -> float:  # noqa: N802
        """By a clock that nobody sets."""
        return time.monotonic() * 1e3


def _file(robot: str) -> list[str]:
    return ["--robot", f"hw_configs/{robot}.toml"]
