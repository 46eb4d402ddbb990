"""Does the time of day jump for one process, and for that one only?"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from protocol.errors import ConfigError
from sim_harness.hil.false_clock import FalseClock, can_step
from sim_harness.hil.host import Host

HOUR_S = 3600.0
HOST = Host()
pytestmark = pytest.mark.skipif(not can_step(HOST), reason="no C compiler")
TELLS = """
import sys, time
for _ in sys.stdin:
    begun = time.monotonic()
    time.sleep(0.01)
    print(time.time(), time.monotonic(), time.monotonic() - begun, flush=True)
"""


@pytest.fixture
def clock(tmp_path: Path) -> FalseClock:
    clock = FalseClock(HOST, str(tmp_path / "clock"))
    clock.install()
    return clock


def test_the_time_of_day_jumps_and_nothing_else_does(clock: FalseClock) -> None:
    argv = [*clock.words(), sys.executable, "-c", TELLS]
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def told() -> list[float]:
            """Ahead of our own clocks: time of day, monotonic; and how long a sleep took."""
            process.stdin.write("now\n")
            process.stdin.flush()
            day_s, monotonic_s, slept_s = map(float, process.stdout.readline().split())
            return [day_s - time.time(), monotonic_s - time.monotonic(), slept_s]

        for step_s in (0.0, HOUR_S, -HOUR_S, 0.5):
            clock.step(step_s)
            ahead_s, monotonic_s, slept_s = told()
            assert ahead_s == pytest.approx(step_s, abs=0.3)
            assert monotonic_s == pytest.approx(0.0, abs=0.3)
            assert 0.01 <= slept_s < 1.0
        process.stdin.close()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="mkdir"):
        FalseClock(HOST, str(tmp_path / "file" / "clock")).install()
    with pytest.raises(ConfigError, match="offset"):
        FalseClock(HOST, str(tmp_path / "nowhere")).step(1.0)
