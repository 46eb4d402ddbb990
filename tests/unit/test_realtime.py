"""Does placement take what it can get and tell the truth about the rest?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

PROBE = """
import gc, json, os, resource, sys, threading
from onboard.realtime import assist, place
from protocol.robot_spec import Timing
{before}
found = place(Timing(cpu={cpu}, fifo_priority=10))
seen = []
def other():
    seen.append(os.sched_getscheduler(0))
    assist(Timing(cpu=0, fifo_priority=10))
    seen.append(os.sched_getparam(0).sched_priority)
thread = threading.Thread(target=other); thread.start(); thread.join()
print(json.dumps(dict(
    scheduling=found.scheduling, notes=found.notes, gc=gc.isenabled(), frozen=gc.get_freeze_count(),
    policy=os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK, cpus=sorted(os.sched_getaffinity(0)),
    other=seen)))
"""


def probe(cpu: int = 0, before: str = "") -> dict[str, Any]:
    code = PROBE.format(cpu=cpu, before=before)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=True)
    return dict(json.loads(done.stdout))


def test_the_report_is_what_the_kernel_says() -> None:
    found = probe()
    assert (found["scheduling"] == "fifo") == (found["policy"] == os.SCHED_FIFO)
    assert found["cpus"] == [0]
    assert found["gc"] is False
    assert isinstance(found["frozen"], int)
    assert found["frozen"] > 1000


def test_other_threads_stay_below_the_loop() -> None:
    started, priority = probe()["other"]
    assert started == os.SCHED_OTHER
    assert priority in (0, 9)


def test_a_cpu_that_does_not_exist_is_a_note_and_no_more() -> None:
    (note,) = [n for n in probe(cpu=1000)["notes"] if "cpu" in n]
    assert note.startswith("cpu 1000 is not among the allowed")


@pytest.mark.skipif(os.geteuid() != 0, reason="unprivileged anyway: the other tests cover it")
def test_without_privileges_it_is_soft_and_says_why() -> None:
    """Capabilities are dropped after the imports: nobody may not read the interpreter's folder."""
    drop = "resource.setrlimit(resource.RLIMIT_RTPRIO, (0, 0)); "
    drop += "resource.setrlimit(resource.RLIMIT_MEMLOCK, (65536, 65536)); os.setuid(65534)"
    found = probe(before=drop)
    assert found["scheduling"] == "soft"
    notes = " ".join(found["notes"])
    assert "SCHED_FIFO 10 refused" in notes
    assert "mlockall not tried" in notes
