"""The runtime on another machine: behind ssh in a network of its own, at the far end of a cable.

The ssh here enters a network namespace instead of a machine; the cable is two pseudo terminals
joined at their masters, as ``socat`` would do it. Everything else is as with a Jetson on USB.
"""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import threading
import tty
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
ROBOT = Path(__file__).parents[2] / "hw_configs" / "furuta.toml"
SSH = """#!/bin/sh
while [ "$1" != -- ]; do shift; done
shift
exec unshare -rn sh -c "$*"
"""
ISOLATED = subprocess.run(["unshare", "-rn", "true"], capture_output=True, check=False)


@pytest.fixture
def cable() -> Iterator[tuple[str, str]]:
    """Both ends of a crossed serial line."""
    masters, slaves = zip(*(pty.openpty() for _ in range(2)), strict=True)
    for slave in slaves:
        tty.setraw(slave)
    done = threading.Event()

    def carry() -> None:
        while not done.is_set():
            for end in select.select(masters, [], [], 0.05)[0]:
                other = masters[1] if end == masters[0] else masters[0]
                with suppress(OSError):
                    os.write(other, os.read(end, 4096))

    thread = threading.Thread(target=carry)
    thread.start()
    yield os.ttyname(slaves[0]), os.ttyname(slaves[1])
    done.set()
    thread.join()
    for end in (*masters, *slaves):
        os.close(end)


@pytest.mark.skipif(ISOLATED.returncode != 0, reason="no network namespaces for this user")
def test_a_robot_behind_ssh_goes_through_the_same_scenarios(cable, tmp_path):
    here, there = cable
    ssh, out = tmp_path / "bin" / "ssh", tmp_path / "out"
    ssh.parent.mkdir()
    ssh.write_text(SSH)
    ssh.chmod(0o755)
    argv = [sys.executable, "-m", "sim_harness.main", "hil", "--robot", str(ROBOT)]
    argv += ["--out", str(out), "--only", "silent_wire", "--serial", here]
    argv += ["--onboard", "ssh://user@jetson", "--onboard-port", there]
    argv += ["--onboard-program", f"{sys.executable} -m onboard.main"]
    argv += ["--onboard-place", str(tmp_path / "place")]
    path = f"{ssh.parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PATH": path}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    summary = json.loads((out / "summary.json").read_text())
    (result,) = summary["scenarios"]
    assert result["verdict"] != "fail", result["reasons"]
    if not summary["valid"]:
        pytest.skip(f"this machine is too slow now: {result['reasons']}")
    assert result["final_mode"] == "FAULT"
    assert result["time_to_safe_ms"] <= 400.0
