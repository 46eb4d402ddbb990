"""A swap that is cut short, raced, or comes at the worst moment: what drives afterwards?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from made_loop import Bench
from made_policy import write_bundle
from made_rig import ROBOT
from made_swap import SwapRobot

from onboard.control_api import BUSY, Clear, Done, Estop, Offer, Start, Stop
from onboard.control_socket import ControlClient, ControlServer
from onboard.hotswap import HotSwap
from onboard.ledger import ledger_path, open_ledger
from onboard.swap_steps import Step
from protocol import xl330
from protocol.modes import Mode
from protocol.robot_spec import RobotSpec, load_robot_spec
from protocol.step_record import Flag

Make = Callable[..., Path]

REPOSITORY = Path(__file__).parents[2]
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": str(REPOSITORY / "tests" / "support"),
    "OMP_NUM_THREADS": "1",
}


@pytest.fixture
def bench(furuta: RobotSpec, rig_port: Any, tmp_path: Path, make_bundle: Make) -> Iterator[Bench]:
    """In IDLE, with policy 1."""
    bench = Bench(furuta, rig_port, tmp_path)
    bench.boot()
    bench.load(make_bundle(1), 1)
    yield bench
    bench.close()


# Killed.


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One durable directory per step: of a robot killed on the way from policy 1 to policy 2."""
    root, spec = tmp_path_factory.mktemp("killed"), load_robot_spec(ROBOT)
    for version in (1, 2):
        write_bundle(root, spec, version)
    argv = [sys.executable, "-m", "made_swap", str(root)]
    subprocess.run(argv, env=ENVIRONMENT, cwd=REPOSITORY, timeout=100, check=True)
    return root


@pytest.mark.parametrize("step", Step, ids=lambda step: step.name)
def test_killed_after_any_step_it_starts_again_with_the_last_committed_policy(
    step: Step, furuta: RobotSpec, killed: Path, make_bundle: Make
) -> None:
    robot = SwapRobot(furuta, killed / step.name)
    assert robot.active == (2 if step is Step.KEPT else 1)
    assert robot.swap.events[-1].reason == "committed before"
    robot.commits(3, make_bundle(3))  # nothing is in its way
    robot.restart()
    assert robot.active == 3


@pytest.mark.parametrize("step", [step for step in Step if step is not Step.KEPT])
def test_what_was_cut_short_may_come_again(
    step: Step, furuta: RobotSpec, tmp_path: Path, make_bundle: Make
) -> None:
    """In-process: an exception in place of the kill leaves the same files."""

    class Cut(BaseException):
        pass

    def cut(reached: Step) -> None:
        if reached is step and armed:
            raise Cut

    armed: list[bool] = []
    robot = SwapRobot(furuta, tmp_path, cut)
    robot.commits(1, make_bundle(1))
    armed.append(True)
    with pytest.raises(Cut):
        robot.commits(2, make_bundle(2))
    armed.clear()
    robot.restart()
    assert robot.active == 1
    robot.commits(2, make_bundle(2))


@pytest.mark.parametrize("step", [Step.KEEPING, Step.KEPT])
def test_a_pin_is_in_the_ledger_or_it_is_not(
    step: Step, furuta: RobotSpec, tmp_path: Path, make_bundle: Make
) -> None:
    robot = SwapRobot(furuta, tmp_path)
    robot.commits(1, make_bundle(1))
    path, written = ledger_path(tmp_path, "swing_up"), []
    ledger = open_ledger(path, lambda at: written.append((at, path.read_text())))
    ledger.pin(1)
    ledger.settle()
    found = dict(written)
    assert ('"pinned":1' in found[step]) == (step is Step.KEPT)


# Raced.


def test_of_two_updates_at_once_one_is_taken_and_the_other_told_to_wait(
    furuta: RobotSpec, tmp_path: Path, make_bundle: Make
) -> None:
    robot = SwapRobot(furuta, tmp_path)
    robot.commits(1, make_bundle(1))
    folders = {version: make_bundle(version) for version in (2, 3)}
    server = ControlServer(tmp_path / "control.sock", robot.swap.offer).open()  # type: ignore[arg-type]
    serving = threading.Thread(target=server.serve)
    serving.start()
    answers: dict[int, Done] = {}
    start = threading.Barrier(2)

    def offer(version: int) -> None:
        with closing(ControlClient(tmp_path / "control.sock")) as client:
            start.wait()
            answers[version] = client.offer(version, folders[version])

    offering = [threading.Thread(target=offer, args=(version,)) for version in folders]
    for thread in offering:
        thread.start()
    for thread in offering:
        thread.join()
    server.close()
    serving.join()
    (taken,) = (version for version, done in answers.items() if done.ok)
    (other,) = folders.keys() - {taken}
    assert answers[other].detail == f"{BUSY}: a candidate is in staging"
    robot.step()
    assert robot.active == taken
    robot.offered(other, folders[other])
    assert robot.active == 3  # 2 is not newer than 3, and 3 takes over from 2


# At the worst moment.


def test_an_update_while_homing_drives_when_it_is_home(bench: Bench, make_bundle: Make) -> None:
    bench.obey(Start())
    assert bench.mode is Mode.HOMING
    bench.load(make_bundle(2), 2)
    assert bench.mode is Mode.HOMING
    bench.until(Mode.RUN)
    bench.run(1)
    assert bench.rows()[-1]["policy_version"] == 2


def test_an_update_during_an_emergency_stop_moves_nothing(bench: Bench, make_bundle: Make) -> None:
    bench.obey(Start())
    bench.until(Mode.RUN)
    bench.swap.offer(Offer(version=2, directory=str(make_bundle(2))))
    offer = bench.swap._offers.get()
    assert offer is not None
    bench.obey(Estop())
    bench.swap.stage(offer)
    bench.run(2)
    assert (bench.mode, bench.swap.active_version) == (Mode.ESTOP, 2)
    assert bench.motor(xl330.TORQUE_ENABLE) == 0
    assert not bench.obey(Start()).ok
    bench.obey(Clear())
    bench.until(Mode.IDLE)
    assert bench.motor(xl330.TORQUE_ENABLE) == 0


def test_an_update_in_the_tick_of_a_stop_changes_the_policy_and_nothing_else(
    bench: Bench, make_bundle: Make
) -> None:
    bench.obey(Start())
    bench.until(Mode.RUN)
    bench.swap.offer(Offer(version=2, directory=str(make_bundle(2))))
    offer = bench.swap._offers.get()
    assert offer is not None
    bench.swap.stage(offer)
    assert bench.obey(Stop()).ok
    last = bench.rows()[-1]
    assert (last["mode"], last["flags"] & Flag.SWAPPED > 0) == (Mode.IDLE, True)
    assert bench.motor(xl330.TORQUE_ENABLE) == 0


def test_a_shutdown_finishes_the_staging_in_work_and_takes_no_more(
    furuta: RobotSpec, tmp_path: Path, make_bundle: Make
) -> None:
    staged, go_on = threading.Event(), threading.Event()

    def hold(step: Step) -> None:
        if step is Step.BUILT:
            staged.set()
            assert go_on.wait(10)

    swap = HotSwap(furuta, "swing_up", at=hold)
    stager = threading.Thread(target=swap.stage_forever)
    stager.start()
    swap.offer(Offer(version=1, directory=str(make_bundle(1))))
    assert staged.wait(10)
    swap.close()
    assert BUSY in swap.offer(Offer(version=2, directory="nowhere")).detail
    go_on.set()
    stager.join(10)
    assert not stager.is_alive()
    assert swap.active_version == 0  # pending, and there is no tick any more


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_thousand_swaps_in_motion_leave_the_memory_as_it_was(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "thousand_swaps", str(tmp_path)]
    told = subprocess.run(argv, env=ENVIRONMENT, cwd=REPOSITORY, capture_output=True, check=True)
    found = json.loads(told.stdout)
    assert found["activated"] == 1000
    assert found["missed_ticks"] == 0
    assert found["growth_bytes"] <= 1 << 20
