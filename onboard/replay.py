"""The inquest: recorded inputs through the present code, and what comes out differently.

Each stage is fed what was recorded before it, not what the stage before it makes of that today:
readings go through :class:`Bus` and :class:`Observer`, recorded observations through :class:`Pilot`
and its policy, recorded commands through :class:`Safety`. So a change shows where it is, and not in
everything after it. What a stage remembers of ticks before the recording is not known; until it
has been recorded, nothing is compared. Source: openpilot's process_replay, as an idea.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from onboard.bus_choice import bus_for
from onboard.estop_latch import EstopLatch
from onboard.homing import homing_for
from onboard.hotswap import HotSwap
from onboard.noise import Noise
from onboard.pilot import Pilot
from onboard.policy import Slot
from onboard.recorder import IMU_COLUMN
from onboard.safety import Safety
from onboard.tick import Driver
from protocol.bundle import GOLDEN_TOLERANCE
from protocol.envelope import Limited
from protocol.errors import BusError
from protocol.modes import Mode
from protocol.observation import Layout, Observer
from protocol.robot_spec import PositionAction, RobotSpec
from protocol.step_record import Rows
from protocol.walk import commanded_m_s

TOLERANCE = 1e-6
"""Of what is pure arithmetic; a policy's answer may differ by ``GOLDEN_TOLERANCE``."""
SPEED_TICKS = 100
"""After so many readings the estimate of speed has forgotten where it began."""
STAGES = ("observation", "policy", "homing", "safety")
_LIMITS = 0xFF
_SEED_TICKS = 1000

FloatArray = NDArray[np.float32]


class Difference(NamedTuple):
    """One number that is not what it was."""

    tick: int
    stage: str
    column: str
    recorded: float
    replayed: float


class Replay:
    """The stages of one robot, fed tick by tick.

    Attributes:
        compared: ticks compared, by stage.
        unflown: ticks of policies that were not given, by version.
    """

    def __init__(self, spec: RobotSpec, task: str, life: int, slots: Mapping[int, Slot]) -> None:
        """``slots`` are the policies at hand, by version; ``life`` is the recording's."""
        self._spec, self._slots = spec, slots
        self._layout, self._observer = Layout(spec), Observer(spec)
        self._bus = bus_for(spec, _no_port, lambda: 0.0)
        self._safety = Safety(spec, _Silence(), EstopLatch(bytearray(1)))
        self._homing, self._noise = homing_for(spec), Noise(life)
        self._swap = HotSwap(spec, task)
        self._pilot = Pilot(spec, self._swap, self._noise)
        self._motors = [joint.name for joint in spec.actuated]
        self._observer.goal_rad = self._safety.goal_rad
        self._task = spec.task(task)
        self._goals = [f"goal:{name}" for name in self._motors]
        self._goals_known, self._mode = False, -1
        self._readings = self._sends = 0
        self._episode: int | None = None
        self._asks = 0
        self.compared = dict.fromkeys(STAGES, 0)
        self.unflown: dict[int, int] = {}

    def step(self, row: np.void) -> Iterator[Difference]:
        """Everything that differs in one tick; rows have to come in order."""
        if row["mode"] == Mode.SELFTEST:
            self._forget()
        if row["sensed"]:
            yield from self._observe(row)
        if row["driver"] == Driver.HOMING:
            yield from self._drive_home(row)
        elif row["driver"] == Driver.POLICY:
            yield from self._fly(row)
        if row["sent"]:
            yield from self._limit(row)
            self._observer.applied(row["applied"])
            self._sends += 1
        self._goals_known &= bool(row["sent"])
        self._mode = int(row["mode"])

    # Readings to observation.

    def _forget(self) -> None:
        """A self-test: the observer starts over, so everything it remembers is known."""
        self._observer.reset()
        self._readings = self._sends = SPEED_TICKS

    def _observe(self, row: np.void) -> Iterator[Difference]:
        for index in range(len(self._spec.joints)):
            counts = (row[f"{of}_count"][index] for of in ("position", "velocity", "current"))
            self._bus.convert(index, *map(int, counts))
        if IMU_COLUMN in (row.dtype.names or ()):
            self._bus.feel([*map(int, row[IMU_COLUMN])])
        self._observer.command_m_s = [commanded_m_s(self._task, int(row["episode"]))]
        time_s = int(row["sense_ns"]) * 1e-9
        vector = self._observer.observe(self._bus.position_rad, time_s, self._bus.inertial)
        self.compared["observation"] += 1
        for column, label in enumerate(self._layout.labels):
            if self._known(column):
                yield from _differ(row, "observation", label, row["obs"][column], vector[column])
        self._readings += 1

    def _known(self, column: int) -> bool:
        """Whether all that this column is made of has been recorded."""
        term = self._spec.observation[column]
        if term.kind == "applied":
            return self._sends >= term.age_ticks
        if term.kind == "goal":
            return self._goals_known
        if term.kind == "speed":
            return self._readings >= SPEED_TICKS
        return term.kind != "velocity" or self._readings >= 1

    # Observation to command.

    def _drive_home(self, row: np.void) -> Iterator[Difference]:
        if self._readings < 2:
            return
        observer = self._observer
        action = self._homing.update(self._bus.position_rad, observer.velocity, observer.tilt_rad)
        self.compared["homing"] += 1
        yield from self._actions(row, "homing", "requested", action, TOLERANCE)

    def _fly(self, row: np.void) -> Iterator[Difference]:
        version = int(row["policy_version"])
        slot = self._slots.get(version)
        if slot is None:
            self.unflown[version] = self.unflown.get(version, 0) + 1
            self._asks = 0
            return
        self._turn(row)
        if self._asks == 0:
            if not row["asked"]:
                return
            self._pilot.begin()
        self._swap.active = slot
        self._noise.number = int(row["draw"]) - 1 if row["draw"] else self._noise.number
        command = self._pilot.ask(row["obs"])
        self._asks += bool(row["asked"])
        self.compared["policy"] += 1
        requested = self._pilot.requested
        yield from self._actions(row, "policy", "requested", requested, GOLDEN_TOLERANCE)
        if command is not None and (self._asks > 1 or self._spec.policy.divisor == 1):
            yield from self._actions(row, "policy", "commanded", command, GOLDEN_TOLERANCE)

    def _turn(self, row: np.void) -> None:
        """An episode begins here as it began then."""
        episode = int(row["episode"])
        if self._episode is not None and episode != self._episode:
            self._pilot.begin()
            self._asks = 1  # what it did before does not matter
        self._episode = episode

    # Command to what is sent.

    def _limit(self, row: np.void) -> Iterator[Difference]:
        known = not row["latched"] and self._readings >= 2 and self._seeded(row)
        self._goals_known = known
        if not known:
            return
        if row["driver"] == Driver.COAST:
            limited = self._safety.coast()
        else:
            limited = self._safety.command(
                row["commanded"], self._bus.position_rad, self._observer.velocity
            )
        self.compared["safety"] += 1
        yield from self._actions(row, "safety", "applied", self._safety.applied, TOLERANCE)
        recorded = Limited(int(row["flags"]) & _LIMITS)
        yield from _differ(row, "safety", "limited_by", recorded, limited)

    def _seeded(self, row: np.void) -> bool:
        """Bring the rate limit to where it was: from rest, at a place where nothing else limits.

        In position mode it starts from the goals in force, if the robot observes them. A tick that
        enters a mode may have held the joints anew after that observation.
        """
        previous = row["previous"]
        if isinstance(self._spec.action, PositionAction):
            return self._mode == row["mode"] and self._resumed(row)
        if np.array_equal(self._safety.applied, previous):
            return True
        self._safety.power_off()
        middle = [0.5 * (j.position_min_rad + j.position_max_rad) for j in self._spec.joints]
        for _ in range(_SEED_TICKS):
            if np.array_equal(self._safety.applied, previous):
                return True
            self._safety.command(previous, middle, [0.0] * len(middle))
        return False

    def _resumed(self, row: np.void) -> bool:
        """Whether the goals in force are known; an observation of this tick tells them."""
        if not row["sensed"] or not {*self._goals} <= {*self._layout.labels}:
            return self._goals_known
        goals = [float(self._layout.read(row["obs"], goal)) for goal in self._goals]
        self._safety.resume(goals)
        return True

    def _actions(
        self, row: np.void, stage: str, column: str, now: FloatArray, tolerance: float
    ) -> Iterator[Difference]:
        for index, motor in enumerate(self._motors):
            was = row[column][index]
            yield from _differ(row, stage, f"{column} {motor}", was, now[index], tolerance)


def differences(replay: Replay, rows: Rows) -> list[Difference]:
    """Everything that differs in (N,) ticks, in order."""
    return [difference for row in rows for difference in replay.step(row)]


def _differ(
    row: np.void, stage: str, column: str, was: float, now: float, tolerance: float = TOLERANCE
) -> Iterable[Difference]:
    """Nothing, or the one difference. What is not finite equals whatever else is not."""
    if np.isfinite(was) and np.isfinite(now):
        if abs(float(was) - float(now)) <= tolerance:
            return ()
    elif not np.isfinite(was) and not np.isfinite(now):
        return ()
    return (Difference(int(row["tick"]), stage, column, float(was), float(now)),)


class _Silence:
    """A wire that takes everything and leads nowhere."""

    watchdog_s = 0.0

    def write(self, goal: object) -> None:
        """Taken."""

    def power_on(self, may: object) -> list[float]:
        """Taken."""
        return []

    def power_off(self) -> list[str]:
        """Taken."""
        return []

    def power_off_step(self, anew: bool) -> list[str]:
        """Taken."""
        return []

    def cut(self) -> None:
        """Taken."""


def _no_port() -> NoReturn:
    raise BusError("a replay has no motor bus")
