"""Does inference stay what it is: one thread, no file, nobody told?"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from made_policy import linear_graph

from protocol.observation import Layout
from protocol.robot_spec import RobotSpec

ROOT = Path(__file__).parents[2]
BUILD = """
import os, sys
from pathlib import Path
from onboard.backends.onnx_runtime import build
from onboard.backends.probe import Machine
Machine(Path()).load("onnxruntime")  # whoever comes first
build(sys.stdin.buffer.read())
print(len(os.listdir("/proc/self/task")))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="threads are counted in /proc")
def test_the_runtime_starts_no_thread_and_writes_no_file(furuta: RobotSpec, tmp_path: Path) -> None:
    environment = {**os.environ, "HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    environment.pop("XDG_CACHE_HOME", None)
    done = subprocess.run(
        [sys.executable, "-c", BUILD], input=linear_graph(Layout(furuta)), env=environment,
        cwd=ROOT, capture_output=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == b"1"
    assert [*tmp_path.rglob("*")] == []
