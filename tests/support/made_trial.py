"""Scenarios of the harness in simulated time: the real onboard code in lock-step with the rig."""

from __future__ import annotations

from collections import deque
from pathlib import Path

from made_loop import Bench
from made_policy import write_bundle
from made_rig import ROBOT, Adapter, Clock

from onboard.control_api import Clear, Estop, Start, Stop
from protocol.modes import Mode
from protocol.robot_spec import RobotSpec, load_robot_spec
from sim_harness.hil.command import SCENARIOS
from sim_harness.hil.faults import Order, RuntimeFault, Unplug
from sim_harness.hil.plain_policy import plain_bias
from sim_harness.hil.scenario import LATCHED, Scenario, load_suite
from sim_harness.hil.stage import Stage
from sim_harness.hil.suite import plan
from sim_harness.hil.tape import OVER, STARTED, ZERO, Tape
from sim_harness.hil.timeline import Moment, faults_of, timeline
from sim_harness.hil.truth import Truth, relive
from sim_harness.hil.verdict import Entry, Pace, Result, Story, judge

ORDERS = {"start": Start, "stop": Stop, "estop": Estop, "clear": Clear}
POLICIES = {
    "gentle": {"gain": 0.15, "exploration": 0.1},
    "wild": {"gain": 8.0, "exploration": 0.3},
    "pressing": {"gain": 0.0},
}
SETTLE_S = 0.3
ANSWER_NS = 300_000


def in_lock_step(scenario: Scenario) -> bool:
    """Whether it needs no processes."""
    needs = [fault for fault in faults_of(scenario) if isinstance(fault, RuntimeFault)]
    return all(isinstance(fault, Order) for fault in needs)


def held(robot: str) -> list[Scenario]:
    """What ``hw_configs/ROBOT.toml`` can be put through without processes."""
    spec = load_robot_spec(ROBOT.with_name(f"{robot}.toml"))
    chosen = plan(load_suite(SCENARIOS).scenarios, spec).chosen
    return [scenario for scenario in chosen if in_lock_step(scenario)]


class LatePort(Adapter):
    """A bus port to a stage; answers take the time that they say."""

    def __init__(self, stage: Stage, clock: Clock) -> None:
        super().__init__()
        self.stage, self.clock = stage, clock
        self._coming: deque[tuple[int, bytes]] = deque()

    def write(self, data: bytes) -> None:
        self.alive()
        self.catch_up()
        at_ns = self.clock.ns
        for delay_ns, answer in self.stage.receive(data, self.clock.ns):
            at_ns += delay_ns
            self._coming.append((at_ns, answer))

    def read(self, timeout_s: float) -> bytes:
        self.alive()
        until_ns = self.clock.ns + round(timeout_s * 1e9)
        if not self._coming or self._coming[0][0] > until_ns:
            self.clock.sleep(timeout_s)
            return b""
        due_ns, data = self._coming.popleft()
        self.clock.ns = max(self.clock.ns, due_ns) + ANSWER_NS
        return data

    def discard_input(self) -> None:
        self.alive()
        while self._coming and self._coming[0][0] <= self.clock.ns:
            self._coming.popleft()

    def close(self) -> None:
        super().close()
        self._coming.clear()

    def catch_up(self) -> None:
        self.stage.advance(self.clock.ns)


class LockStep:
    """One scenario without real time.

    ``believed`` is what the onboard code thinks it drives, where that is not the ``robot`` it is
    judged as.
    """

    def __init__(
        self,
        scenario: Scenario,
        folder: Path,
        robot: Path = ROBOT,
        believed: RobotSpec | None = None,
    ) -> None:
        self.scenario, self.robot, self.spec = scenario, robot, load_robot_spec(robot)
        believed = believed or self.spec
        self.stage = Stage(self.spec, robot.parent, scenario.body, scenario.seed)
        port = LatePort(self.stage, Clock())
        port.catch_up()
        self.bench = Bench(believed, port, folder)
        bias = plain_bias(believed, scenario.policy)
        self.bundle = write_bundle(folder, believed, 1, bias=bias, **POLICIES[scenario.policy])
        self.entries: list[Entry] = []
        self._seen = 0

    def run(self) -> tuple[Result, Truth, Tape]:
        bench, scenario = self.bench, self.scenario
        bench.boot()
        bench.load(self.bundle, 1)
        if scenario.start != "IDLE":
            self._mark(STARTED)
            assert bench.obey(Start()).ok
            wanted = {"RUN": Mode.RUN, "HOMING": Mode.HOMING}[scenario.start]
            bench.until(wanted, 2000)
        self._mark(ZERO)
        zero_ns = bench.clock.ns
        for moment in timeline(scenario):
            self._ticks_until(zero_ns + round(1e9 * moment.at_s))
            self._act(moment)
        self._ticks_until(zero_ns + round(1e9 * (scenario.lasts_s + SETTLE_S)))
        final = bench.mode.name
        self._mark(OVER)
        refused = None if final not in LATCHED else not bench.obey(Start()).ok
        story = Story(self.entries, final, refused, bench.ring.dropped)
        bench.close()
        tape = self._tape()
        truth = relive(tape, self.spec, self.robot.parent)
        return judge(scenario, self.spec, truth, story, Pace(1.0)), truth, tape

    def _ticks_until(self, at_ns: int) -> None:
        tick_ns = round(1e9 * self.spec.tick_s)
        while self.bench.clock.ns + tick_ns <= at_ns:
            self.bench.run(1)
            self._listen()

    def _mark(self, name: str) -> None:
        self.bench.port.catch_up()
        self.stage.turn(True, None, name)

    def _act(self, moment: Moment) -> None:
        self.bench.port.catch_up()
        self.stage.turn(moment.begins, moment.fault)
        if isinstance(moment.fault, Unplug):
            self.bench.port.dead = moment.begins
        elif isinstance(moment.fault, Order) and moment.begins:
            self.bench.obey(ORDERS[moment.fault.word]())
            self._listen()

    def _listen(self) -> None:
        for change in self.bench.control.life.changes:
            if change.number > self._seen:
                self._seen = change.number
                self.entries.append(Entry(change.at_ns * 1e-9, change.new, change.reason))

    def _tape(self) -> Tape:
        return Tape(
            robot=self.spec.name,
            digest=self.spec.digest(),
            body=self.scenario.body,
            seed=self.scenario.seed,
            scenario=self.scenario.name,
            elapsed_s=self.stage.time_ns * 1e-9,
            end_ns=self.stage.time_ns,
            events=tuple(self.stage.events),
        )
