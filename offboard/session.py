"""One robot's adaptation, from its first record to its last: when to learn, publish, stop.

The shell (``offboard/stages/serve.py``) brings rows and takes bundles; this object decides.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import mean

import torch
from torch import Tensor

from offboard.architecture import Architecture
from offboard.assembler import Assembler, Episode
from offboard.expected_return import ExpectedReturn
from offboard.finetune import Learner
from offboard.session_plan import PATIENCE, Phase, SessionConfig, phase_after
from offboard.snapshots import Snapshot, Snapshots
from offboard.world_model import WorldModel
from protocol.errors import BundleError, ConfigError
from protocol.step_record import Rows

_OVER = (Phase.FINAL, Phase.DONE)
_SETTLED = "session.settled"


Publish = Callable[[Tensor, float, dict[str, float]], int]
"""(policy (P,), exploration scale, evaluation) → the version it was published as."""


class Session:
    """Drives one learner. Call :meth:`push` with rows and :meth:`turn` whenever there is time.

    Attributes:
        episodes: finished ones, in order.
        held_back: candidates the gate expected to be worse than the incumbent.
        unfit: why candidates could not be exported.
        pinned: the version that robots are to stay with, 0 if none.
        settled: the version found best when the adaptation was over, 0 before. It is part of the
            checkpoint: a restarted session that has it needs no record any more.
    """

    def __init__(
        self,
        learner: Learner,
        model: WorldModel,
        architecture: Architecture,
        assembler: Assembler,
        publish: Publish,
        config: SessionConfig,
        episode_answers: int,
    ) -> None:
        """``episode_answers`` are the transitions of an episode that nothing ends early."""
        self.episodes: list[Episode] = []
        self.held_back = 0
        self.unfit: list[str] = []
        self.pinned = self.settled = 0
        self._learner = learner
        self._architecture = architecture
        self._assembler = assembler
        self._publish = publish
        self._config, self._whole = config, episode_answers
        self._expected = ExpectedReturn(learner, model, architecture, episode_answers)
        self._snapshots = Snapshots()
        self._published_at = 0
        self._offered_after = 0
        self._unpinned = False
        self._phase = Phase.ZERO_SHOT
        self._begun = False

    @property
    def phase(self) -> Phase:
        """Where the adaptation stands."""
        return self._phase

    @property
    def version(self) -> int:
        """The newest published version."""
        return self._snapshots.latest.version

    def begin(self) -> None:
        """Publish the pinned policy, or the present one, or the best if adaptation is over already.

        On a fresh session that is the zero-shot policy. Call once, after :meth:`restore`, after
        the rows already stored were pushed, and after :meth:`pin` if one is.
        """
        self._phase = self._following
        self._settle()
        self._begun = True
        if self.pinned:
            self._send_pinned(self.pinned)
        elif self._phase in _OVER and len(self._snapshots):
            self._send_best()
        else:
            exploration = 1.0 if self._phase is Phase.ADAPT else 0.0
            self._send(self._present(), exploration, math.nan)

    def pin(self, version: int) -> None:
        """Keep robots with what was published as ``version``; 0 lets newer policies out again.

        It goes out once more, under a new number and without exploration, for no robot goes back to
        an older number. What is learned meanwhile stays here; once newer ones may go out, a
        candidate is due, and the gate judges it as any other.

        Raises:
            ConfigError: nothing was published as ``version``. Nothing has changed, here and below.
            BundleError: it cannot be exported.
            StoreError: it cannot be written.
        """
        if version and version not in self._snapshots:
            raise ConfigError(f"policy {version} cannot be pinned: this run did not publish it")
        if version == self.pinned:
            return
        if self._begun and version:
            self._send_pinned(version)
        elif self._begun:
            self._let_out()
        self.pinned = version

    def tensors(self) -> dict[str, Tensor]:
        """A checkpoint of learner, published policies and how it ended."""
        settled = {_SETTLED: torch.tensor(self.settled)}
        return {**self._learner.tensors(), **self._snapshots.tensors(), **settled}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take up a checkpoint. Raises StoreError if it is not one."""
        self._learner.restore(tensors)
        self._snapshots.restore(tensors)
        self.settled = int(tensors.get(_SETTLED, 0))

    def push(self, rows: Rows) -> list[Episode]:
        """Take rows in order; returns the episodes that ended."""
        self._expected.push(rows)
        transitions, ended = self._assembler.push(rows)
        self._learner.observe(transitions)
        for episode in ended:
            self.episodes.append(episode)
            if episode.representative:
                self._snapshots.measured(episode.main_version, episode.total)
        return ended

    def turn(self) -> bool:
        """Do the next piece of work; False if there is nothing to do.

        Nothing is learned any more once the final policy is chosen.
        """
        following = self._following
        if following is not self._phase:
            self._enter(following)
            return True
        if following in _OVER:
            return False
        if self._config.publish_every == 0 and self._offer():
            return True
        if self._learner.due_for_adaptation:
            self._learner.adapt()
            return True
        owed = self._learner.updates_owed
        if owed > 0:
            self._learner.train(min(owed, self._config.updates_per_turn))
            return True
        return self._offer()

    def _send_pinned(self, version: int) -> None:
        policy = self._snapshots[version].policy
        self._send(policy, 0.0, self._expected.of(policy))

    def _let_out(self) -> None:
        """The best if learning is over, else a candidate; before ADAPT there is nothing newer."""
        if self._phase in _OVER:
            self._send_best()
        self._unpinned = self._phase is Phase.ADAPT

    @property
    def _following(self) -> Phase:
        """The phase that the finished episodes lead to."""
        if self.settled:
            return Phase.DONE
        answers = sum(episode.answers for episode in self.episodes)
        return phase_after(len(self.episodes), answers, self._whole, self._config)

    def _enter(self, phase: Phase) -> None:
        """Exploring begins with ADAPT; FINAL goes back to the best snapshot, without exploring."""
        self._phase = phase
        self._settle()
        if self.pinned:
            return
        if phase is Phase.ADAPT:
            policy, self._offered_after = self._present(), len(self.episodes)
            self._send(
                policy, 1.0, self._expected.of(policy) if self._config.gate_ratio else math.nan
            )
        if phase is Phase.FINAL:
            self._send_best()

    def _settle(self) -> None:
        """Once all episodes are over, the best policy stays the best."""
        if self._phase is Phase.DONE and not self.settled and len(self._snapshots):
            self.settled = self._best().version

    def _best(self) -> Snapshot:
        """The model has a say if it was ever judged on the target."""
        if self.settled:
            return self._snapshots[self.settled]
        informed = self._learner.evidence.nmse is not None
        return self._snapshots.best(self._expected.of if informed else lambda _: math.nan)

    def _send_best(self) -> None:
        policy = self._best().policy
        self._send(policy, 0.0, self._expected.of(policy))

    def _offer(self) -> bool:
        """Publish the present policy if one is due and it is not expected to be worse.

        One that has diverged expects NaN, which is never enough; without a gate it is unfit.
        """
        if self.pinned or self._phase is not Phase.ADAPT or not self._due:
            return False
        self._published_at, self._offered_after = self._learner.online.added, len(self.episodes)
        self._unpinned = False
        candidate, ratio = self._present(), self._config.gate_ratio
        expected = self._expected.of(candidate) if ratio else math.nan
        if ratio and not expected >= ratio * self._incumbent_return():
            self.held_back += 1
            return True
        try:
            self._send(candidate, 1.0, expected)
        except BundleError as error:
            self.unfit.append(str(error))
        return True

    @property
    def _due(self) -> bool:
        """Whether it is time for a candidate. One the robot does not take is not waited for."""
        if self._unpinned:
            return True
        if self._config.publish_every == 0:
            waited = len(self.episodes) - self._offered_after
            return waited >= PATIENCE or bool(waited and self._snapshots.latest.returns)
        return self._learner.online.added - self._published_at >= self._config.publish_every

    def _incumbent_return(self) -> float:
        """What the newest published policy is worth: as measured, or as expected until then."""
        incumbent = self._snapshots.latest
        return mean(incumbent.returns) if incumbent.returns else self._expected.of(incumbent.policy)

    def _present(self) -> Tensor:
        """The learner's policy as it is now."""
        learner = self._learner
        return self._architecture.parameters(learner.state, learner.model_state, learner.pessimism)

    def _send(self, policy: Tensor, exploration: float, imagined: float) -> None:
        evaluation = {"online_steps": float(self._learner.online.added)}
        if math.isfinite(imagined):
            evaluation["imagined_return"] = imagined
        version = self._publish(policy, exploration, evaluation)
        self._snapshots.add(Snapshot(version, policy))
