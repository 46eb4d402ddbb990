"""The runtime on another machine: behind ssh in a network of its own, at the far end of a cable.

Where this user may have two network namespaces, each machine is one of them: ``ssh`` enters the
other, and ``socat`` carries the serial line across. Elsewhere every ``ssh`` has a namespace of its
own and the cable is two pseudo terminals joined at their masters. The rest is as with a Jetson.
"""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
import threading
import time
import tty
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import pytest
from hil_process import run_hil

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
NEAR, FAR = (f"wombet-{os.getpid()}-{side}" for side in ("near", "far"))
NEAR_IP, FAR_IP, CABLE_PORT = "192.0.2.1", "192.0.2.2", 4001
SSH = """#!/bin/sh
while [ "$1" != -- ]; do shift; done
shift
exec {enter} sh -c "exec $*"
"""
PLUG_S = 20.0
SCENARIOS = {
    "silent_wire": {"FAULT"},
    "operator_estop": {"ESTOP"},
    "agent_killed": {"RUN", "RECOVER"},
}
"""And how each ends: a fault of the wire, an order across ssh, a signal across ssh."""


class Away(NamedTuple):
    """Another machine.

    ``here`` and ``there`` are the ends of its serial cable; ``stay`` and ``enter`` come before a
    command that is to run here and there.
    """

    here: str
    there: str
    stay: str
    enter: str


def succeeds(*argv: str) -> bool:
    with suppress(OSError):
        return subprocess.run(argv, capture_output=True, check=False).returncode == 0
    return False


def why_not_bridged() -> str:
    if shutil.which("socat") is None:
        return "socat is not installed"
    allowed = succeeds("ip", "netns", "add", NEAR)
    succeeds("ip", "netns", "del", NEAR)
    return "" if allowed else "this user may not make network namespaces with ip"


NOT_BRIDGED = why_not_bridged()
NOT_JOINED = "" if succeeds("unshare", "-rn", "true") else "no network namespaces for this user"


@contextmanager
def two_namespaces() -> Iterator[tuple[str, str]]:
    """Two networks, one hop apart; how to enter each."""
    with ExitStack() as stack:
        for space in (NEAR, FAR):
            subprocess.run(["ip", "netns", "add", space], check=True)
            stack.callback(subprocess.run, ["ip", "netns", "del", space], check=True)
        for command in (
            f"ip -n {NEAR} link add cable type veth peer name cable netns {FAR}",
            f"ip -n {NEAR} addr add {NEAR_IP}/30 dev cable",
            f"ip -n {FAR} addr add {FAR_IP}/30 dev cable",
            *(
                f"ip -n {space} link set {link} up"
                for space in (NEAR, FAR)
                for link in ("lo", "cable")
            ),
        ):
            subprocess.run(command.split(), check=True)
        yield f"ip netns exec {NEAR}", f"ip netns exec {FAR}"


@contextmanager
def plugged(argv: list[str], link: Path) -> Iterator[None]:
    """One end of the cable, once its pseudo terminal is there."""
    with subprocess.Popen(argv) as socat:
        try:
            end_s = time.monotonic() + PLUG_S
            while not link.exists():
                assert socat.poll() is None, "socat ended"
                assert time.monotonic() < end_s, "socat made no terminal"
                time.sleep(0.02)
            yield
        finally:
            socat.terminate()


@contextmanager
def bridged(folder: Path) -> Iterator[Away]:
    """``socat`` at both ends of a TCP connection between the two networks."""
    here, there = folder / "here", folder / "there"
    with two_namespaces() as (stay, enter), ExitStack() as stack:
        far = f"tcp-listen:{CABLE_PORT},bind={FAR_IP},nodelay"
        near = f"tcp:{FAR_IP}:{CABLE_PORT},nodelay,retry=100,interval=0.1"
        for way, link, socket in ((enter, there, far), (stay, here, near)):
            argv = [*way.split(), "socat", f"pty,raw,echo=0,link={link}", socket]
            stack.enter_context(plugged(argv, link))
        yield Away(str(here), str(there), stay, enter)


@contextmanager
def joined(folder: Path) -> Iterator[Away]:
    """Two pseudo terminals whose masters hear each other."""
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
    yield Away(os.ttyname(slaves[0]), os.ttyname(slaves[1]), "", "unshare -rn")
    done.set()
    thread.join()
    for end in (*masters, *slaves):
        os.close(end)


WAYS = [
    pytest.param(bridged, marks=pytest.mark.skipif(bool(NOT_BRIDGED), reason=NOT_BRIDGED)),
    pytest.param(
        joined,
        marks=[
            pytest.mark.skipif(not NOT_BRIDGED, reason="the bridged cable has been tested"),
            pytest.mark.skipif(bool(NOT_JOINED), reason=NOT_JOINED),
        ],
    ),
]


@pytest.mark.parametrize("way", WAYS)
def test_a_robot_behind_ssh_goes_through_the_same_scenarios(way, tmp_path):
    ssh, out = tmp_path / "bin" / "ssh", tmp_path / "out"
    with way(tmp_path) as away:
        ssh.parent.mkdir()
        ssh.write_text(SSH.format(enter=away.enter))
        ssh.chmod(0o755)
        path = f"{ssh.parent}{os.pathsep}{os.environ['PATH']}"
        ran = run_hil(
            "furuta", out, "--only", *SCENARIOS, "--serial", away.here,
            "--onboard", "ssh://user@jetson", "--onboard-port", away.there,
            "--onboard-program", f"{sys.executable} -m onboard.main",
            "--onboard-place", tmp_path / "place",
            before=away.stay.split(), environment={"PATH": path},
        )  # fmt: skip
    results = {each["name"]: each for each in ran.summary["scenarios"]}
    assert results.keys() == SCENARIOS.keys()
    assert all(each["final_mode"] in SCENARIOS[name] for name, each in results.items()), results
    assert results["silent_wire"]["time_to_safe_ms"] <= 400.0
    assert results["operator_estop"]["time_to_safe_ms"] <= 300.0
