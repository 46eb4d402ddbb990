"""The whole loop with real processes and small budgets: the demo command itself."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(150)]
CONFIGS = Path("hw_configs")
SMALL = {
    "--source-options": [
        *("--online.env-steps", "1200", "--online.evaluate-every", "600"),
        *("--online.updates-per-step", "1", "--model-steps", "200", "--holdout-steps", "300"),
    ],
    "--generate-options": ["--generate.trajectories", "8", "--generate.steps", "40"],
    "--expert-options": ["--online.env-steps", "300", "--online.evaluate-every", "300"],
}
SESSION = {
    "--session.episodes": "5",
    "--session.zero-shot-episodes": "1",
    "--session.final-episodes": "1",
    "--session.publish-every": "90",
    "--page-port": "0",
}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, dict[str, Any], Path]:
    """Exit status, summary and directory of one small run on two-second episodes."""
    place = tmp_path_factory.mktemp("demo")
    robot = place / "furuta.toml"
    text = (CONFIGS / "furuta.toml").read_text()
    robot.write_text(text.replace("episode_steps = 250", "episode_steps = 100"))
    shutil.copy(CONFIGS / "furuta.xml", place / "furuta.xml")
    out = place / "run"
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("wombet-offboard")), "demo",
            "--robot", str(robot), "--out", str(out), "--endpoint", f"tcp://127.0.0.1:{_port()}",
            *(part for pair in SESSION.items() for part in pair),
            *(f"{option}={' '.join(values)}" for option, values in SMALL.items()),
        ],
        env={**os.environ, "TORCHDYNAMO_DISABLE": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (out / "summary.json").exists(), done.stdout + done.stderr
    return done.returncode, json.loads((out / "summary.json").read_text()), out


def test_the_loop_holds(demo: tuple[int, dict[str, Any], Path]) -> None:
    status, summary, _ = demo
    assert status == 0, summary


def test_every_record_arrives_once(demo: tuple[int, dict[str, Any], Path]) -> None:
    stream = demo[1]["stream"]
    assert stream["produced"] == stream["committed"] > 500
    assert stream["lost"] == stream["duplicated"] == 0


def test_new_weights_are_swapped_in_while_the_robot_works(
    demo: tuple[int, dict[str, Any], Path],
) -> None:
    assert demo[1]["policy"]["activated"] >= 2
    assert demo[1]["policy"]["rejected"] == 0


def test_the_report_stands_alone(demo: tuple[int, dict[str, Any], Path]) -> None:
    report = (demo[2] / "report.html").read_text()
    assert report.count("<svg") == 4
    assert "<script" not in report
    assert 'src="' not in report


def _port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
