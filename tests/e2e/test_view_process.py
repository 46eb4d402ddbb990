"""``wombet-sim view`` as a process: it brings a rig along, shows it here only, ends in order."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

pytest.importorskip("viser", reason="viser is not installed")
pytestmark = pytest.mark.timeout(180)
ROBOT = Path(__file__).parents[2] / "hw_configs" / "furuta.toml"
ELSEWHERE = "127.0.0.2"
"""Also this machine, but not where the page listens."""


def test_a_browser_here_gets_the_page_and_nobody_else_does() -> None:
    argv = [sys.executable, "-m", "sim_harness.main", "view", "--robot", str(ROBOT), "--port", "0"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as view:
        assert view.stdout is not None
        told = next(line for line in view.stdout if "furuta behind" in line)
        found = re.search(r"behind (\S+): (http://127\.0\.0\.1:(\d+))", told)
        assert found is not None, told
        link, address, port = Path(found[1]), found[2], int(found[3])
        assert link.is_symlink()
        with urllib.request.urlopen(address, timeout=60) as answer:
            assert answer.status == 200
        with pytest.raises(OSError, match="refused"):
            socket.create_connection((ELSEWHERE, port), timeout=10)
        view.send_signal(signal.SIGTERM)
        assert view.wait(60) == 0
    assert not link.is_symlink()
