"""A robot's swap without a loop: every thread's work is done in turn, so nothing races or waits.

As a program, ``python -m made_swap ROOT``, it lets one robot per step of a swap live and die, each
over the durable directory ``ROOT/STEP``: it commits policy 1 and kills itself on the way to
committing policy 2, right after that step.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from made_rig import ROBOT

from onboard.control_api import Done, Offer
from onboard.hotswap import HotSwap
from onboard.ledger import ledger_path, open_ledger
from onboard.probation import PROBATION_EPISODES, Verdict
from onboard.swap_steps import Step, Watch, unwatched
from protocol.robot_spec import RobotSpec, load_robot_spec


class SwapRobot:
    """Swap and ledger of one robot, over a durable directory that outlives it."""

    def __init__(self, spec: RobotSpec, state: Path, at: Watch = unwatched) -> None:
        self._spec, self._state, self._at = spec, state, at
        self.restart()

    def restart(self) -> None:
        """What was in memory is gone."""
        ledger = open_ledger(ledger_path(self._state, "swing_up"), self._at)
        self.swap = HotSwap(self._spec, "swing_up", ledger=ledger, at=self._at)
        self.swap.restore()
        self.step()

    def step(self) -> None:
        """Stager, loop and ledger each do what there is to do."""
        while not self.swap._offers.empty():
            offer = self.swap._offers.get()
            assert offer is not None
            self.swap.stage(offer)
        self.swap.flip()
        self.swap.ledger.settle()

    def offered(self, version: int, folder: Path) -> Done:
        done = self.swap.offer(Offer(version=version, directory=str(folder)))
        self.step()
        return done

    def commits(self, version: int, folder: Path) -> None:
        assert self.offered(version, folder).ok
        for _ in range(PROBATION_EPISODES):
            self.swap.episode_completed(Verdict(score=100.0, steps=250))
        self.step()
        assert self.swap.ledger.record.versions[-1] == version

    @property
    def active(self) -> int:
        return self.swap.active_version


def live_and_die(root: Path, last: Step) -> None:
    armed: list[Step] = []

    def at(step: Step) -> None:
        if step in armed:
            os.kill(os.getpid(), signal.SIGKILL)

    robot = SwapRobot(load_robot_spec(ROBOT), root / last.name, at)
    robot.commits(1, root / "bundle-1")
    armed.append(last)
    robot.commits(2, root / "bundle-2")


def main(root: Path) -> None:
    """Forks, because importing takes longer than living."""
    for step in Step:
        child = os.fork()
        if child == 0:
            live_and_die(root, step)
            os._exit(0)  # unreached
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status), step
        assert os.WTERMSIG(status) == signal.SIGKILL, step


if __name__ == "__main__":
    main(Path(sys.argv[1]))
