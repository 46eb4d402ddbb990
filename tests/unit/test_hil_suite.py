"""Scenarios go side by side; what hogs the processor comes last, alone; policies are kept."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from made_rig import ROBOT

from protocol.errors import StoreError
from protocol.robot_spec import load_robot_spec
from sim_harness.hil import suite
from sim_harness.hil.faults import CpuHog
from sim_harness.hil.report import Course
from sim_harness.hil.scenario import Must, Scenario
from sim_harness.hil.suite import POLICIES, Plan, not_run, run_suite

SPEC = load_robot_spec(ROBOT)
MEETING_S = 30.0


def scenario(name: str, *faults: CpuHog) -> Scenario:
    return Scenario(name=name, about="", must=Must(end=["RUN"]), faults=[*faults])


@pytest.fixture
def bench(tmp_path: Path) -> SimpleNamespace:
    policies = tmp_path / "outfit"
    (policies / "1").mkdir(parents=True)
    (policies / "1" / "manifest.json").write_text("{}")
    return SimpleNamespace(spec=SPEC, robot=ROBOT, outfit=SimpleNamespace(policies=policies))


def test_two_go_side_by_side_and_a_hog_alone_at_the_end(bench, tmp_path, monkeypatch):
    """Both of a pair have to be there before either goes on."""
    pairs, lock, order, running = threading.Barrier(2), threading.Lock(), [], set()

    def run_one(_, chosen: Scenario, folder: Path) -> Course:
        with lock:
            running.add(chosen.name)
        if chosen.name == "hog":
            assert running == {"hog"}
        else:
            pairs.wait(MEETING_S)
            assert len(running) == 2
            pairs.wait(MEETING_S)
        with lock:
            running.discard(chosen.name)
            order.append(chosen.name)
        return Course(chosen, not_run(chosen, "nobody ran it"), None, None)

    monkeypatch.setattr(suite, "run_one", run_one)
    names = ("hog", "a", "b", "c", "d")
    hog = CpuHog(processes=1, at_s=0.0)
    chosen = [scenario(name, *([hog] if name == "hog" else [])) for name in names]
    said = []
    summary = run_suite(bench, Plan(chosen, []), tmp_path, 2, said.append)
    assert (order[-1], sorted(order)) == ("hog", sorted(names))
    assert len(said) == len(summary.scenarios) == len(names)
    assert json.loads((tmp_path / "summary.json").read_text())["valid"] is False
    assert (tmp_path / POLICIES / "1" / "manifest.json").is_file()


def test_a_place_that_takes_nothing_is_told_before_anything_runs(bench, tmp_path, monkeypatch):
    monkeypatch.setattr(suite, "run_one", None)
    (tmp_path / POLICIES).write_text("in the way")
    with pytest.raises(StoreError, match="policies: cannot be written"):
        run_suite(bench, Plan([scenario("a")], []), tmp_path, 1, lambda _: None)
