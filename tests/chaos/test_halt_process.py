"""Does a stop at the server reach a robot's control over real sockets, until it is taken back?"""

from __future__ import annotations

import time
from pathlib import Path

from made_agent import AgentProcess, Control, ring
from made_server import Site, until

from offboard.keys import enrol_robot
from offboard.stop_list import release_robot, stop_robot

WITHIN_S = 5.0
"""About a second, and room for a busy machine."""


def test_the_servers_operator_stops_a_robot_from_afar(tmp_path: Path) -> None:
    site, runtime, state = Site(tmp_path / "server"), tmp_path / "run", tmp_path / "robot"
    runtime.mkdir(mode=0o700)
    enrol_robot(site.keys, "r", state)
    control = Control(runtime)
    with ring(runtime), control.running(), site.running() as ingest:
        agent = AgentProcess(state, runtime, site.endpoint)
        agent.start()
        until(lambda: ingest.reports)
        assert control.estops == []
        stop_robot(site.keys, "r", "someone is in the cell")
        until(lambda: len(control.estops) >= 2, WITHIN_S)  # and again, while it is wanted
        assert control.estops[0].source == "the server: someone is in the cell"
        release_robot(site.keys, "r")
        until(lambda: quiet(control), WITHIN_S)
        assert agent.end() == 0
    assert "someone is in the cell (ESTOP)" in agent.log


def quiet(control: Control) -> bool:
    """No further stop for longer than the agent's reports are apart."""
    count = len(control.estops)
    time.sleep(1.5)
    return len(control.estops) == count
