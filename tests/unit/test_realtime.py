"""Does placement take what it can get and tell the truth about the rest?"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from typing import Any

import pytest

PROBE = """
import gc, json, os, resource, sys, threading
from onboard.realtime import assist, outrank, place
from protocol.robot_spec import Timing
{before}
found = place(Timing(cpu={cpu}, fifo_priority=10))
seen = []
def other():
    seen.append(os.sched_getscheduler(0))
    assist(Timing(cpu=0, fifo_priority=10))
    seen.append(os.sched_getparam(0).sched_priority)
    outrank(Timing(cpu=0, fifo_priority=10))
    seen.append(os.sched_getparam(0).sched_priority)
thread = threading.Thread(target=other); thread.start(); thread.join()
status = open("/proc/self/status").read()
slack = int(open("/proc/self/timerslack_ns").read())
print(json.dumps(dict(
    scheduling=found.scheduling, notes=found.notes, gc=gc.isenabled(), frozen=gc.get_freeze_count(),
    policy=os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK, cpus=sorted(os.sched_getaffinity(0)),
    slack_ns=slack, locked_kb=int(status.split("VmLck:")[1].split()[0]), other=seen)))
"""

CAN_FIFO = "import os; os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))"
CAN_LOCK = """
import ctypes
assert ctypes.CDLL(None).mlockall(3) == 0
bytearray(1 << 28)
"""


def permitted(code: str) -> bool:
    """Whether this machine lets a process of this user do it."""
    return (
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode
        == 0
    )


def probe(cpu: int = 0, before: str = "") -> dict[str, Any]:
    code = PROBE.format(cpu=cpu, before=before)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=True)
    return dict(json.loads(done.stdout))


def test_the_report_is_what_the_kernel_says() -> None:
    found = probe()
    fifo = found["policy"] == os.SCHED_FIFO
    assert found["scheduling"] == ("fifo" if fifo and not found["notes"] else "soft")
    assert (found["locked_kb"] > 0) == (not any("mlockall" in note for note in found["notes"]))
    assert found["cpus"] == [0]
    assert found["gc"] is False
    assert found["slack_ns"] == (0 if fifo else 1)
    assert isinstance(found["frozen"], int)
    assert found["frozen"] > 1000


@pytest.mark.skipif(not permitted(CAN_FIFO), reason="no real-time scheduling to be had here")
def test_real_time_scheduling_is_taken_where_permitted() -> None:
    found = probe()
    assert found["policy"] == os.SCHED_FIFO
    assert not any("FIFO" in note for note in found["notes"])


@pytest.mark.skipif(not permitted(CAN_FIFO), reason="no real-time scheduling to be had here")
def test_whatever_is_refused_makes_it_soft() -> None:
    found = probe(cpu=1000)
    assert found["policy"] == os.SCHED_FIFO
    assert found["scheduling"] == "soft"


@pytest.mark.skipif(not permitted(CAN_LOCK), reason="memory cannot be locked here")
def test_memory_is_locked_where_permitted() -> None:
    found = probe()
    assert found["locked_kb"] > 0
    assert not any("mlockall" in note for note in found["notes"])


def test_other_threads_stay_just_below_the_loop_but_for_the_one_that_may_stop_it() -> None:
    started, assisting, outranking = probe()["other"]
    assert started == os.SCHED_OTHER
    assert (assisting, outranking) == ((9, 11) if permitted(CAN_FIFO) else (0, 0))


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


CHILD = """
import os, time
from onboard.realtime import end_with_parent
end_with_parent({parent})
print("ready", flush=True)
time.sleep(60)
"""


def test_a_process_ends_with_its_parent_however_that_dies() -> None:
    """The child holds the pipe: its end closes when the child is gone."""
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {CHILD!r}])"
    parent = subprocess.Popen(
        [sys.executable, "-c", code.format(parent="os.getppid()")], stdout=subprocess.PIPE
    )
    with parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"ready\n"
        parent.send_signal(signal.SIGKILL)
        ready, _, _ = select.select([parent.stdout], [], [], 20.0)
        assert ready, "the child outlives its parent"
        assert parent.stdout.read() == b""


def test_a_process_whose_parent_is_gone_already_ends_at_once() -> None:
    code = CHILD.format(parent="os.getpid()")  # certainly not its parent
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (-signal.SIGTERM, b"")
