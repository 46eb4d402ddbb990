"""A policy asked every few ticks: when is it asked, and what is done between?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
from made_loop import Bench
from made_rig import RigPort

from onboard.backends.port import FloatArray
from onboard.control_api import Start
from onboard.hotswap import HotSwap
from onboard.noise import Noise
from onboard.pilot import Pilot
from onboard.policy import Slot
from protocol.errors import ConfigError
from protocol.modes import Mode
from protocol.robot_spec import Policy, RobotSpec, parse_robot_spec
from protocol.step_record import Flag

ROBOT = Path(__file__).parents[2] / "hw_configs" / "furuta.toml"
OBS = np.zeros(7, dtype=np.float32)


class Scripted:
    """A runner that gives one answer after the other and counts how often it was asked."""

    def __init__(self, *answers: float) -> None:
        self._answers = list(answers)
        self.asked = 0
        self.obs: FloatArray = np.zeros((1, 7), dtype=np.float32)
        self.noise: FloatArray = np.zeros((1, 1), dtype=np.float32)
        self.action: FloatArray = np.zeros((1, 1), dtype=np.float32)

    def run(self) -> None:
        self.action[:] = self._answers[min(self.asked, len(self._answers) - 1)] + self.noise
        self.asked += 1

    def close(self) -> None:
        pass


class Seat:
    """A pilot whose policies a test replaces at will."""

    def __init__(self, furuta: RobotSpec, rate: Policy) -> None:
        spec = msgspec.structs.replace(furuta, policy=rate)
        self.swap = HotSwap(spec, "swing_up")
        self.pilot = Pilot(spec, self.swap, Noise(0))
        self._versions = 0
        self.pilot.begin()

    def takes(self, runner: Scripted, exploration: float = 0.0) -> None:
        self._versions += 1
        self.swap.active = Slot(runner, self._versions, exploration)

    def drives(self, ticks: int) -> list[float]:
        commands = []
        for _ in range(ticks):
            command = self.pilot.ask(OBS)
            assert command is not None
            commands.append(float(command[0]))
        return commands


MakeSeat = Callable[[Policy], Seat]


@pytest.fixture
def seat(furuta: RobotSpec) -> MakeSeat:
    return lambda rate: Seat(furuta, rate)


def test_by_default_every_tick_asks(furuta: RobotSpec, seat: MakeSeat) -> None:
    assert furuta.policy == Policy(divisor=1, between="hold")
    every, runner = seat(furuta.policy), Scripted(0.1, 0.2, 0.3)
    every.takes(runner)
    assert every.drives(3) == pytest.approx([0.1, 0.2, 0.3])
    assert runner.asked == 3


def test_between_two_answers_the_last_command_is_held(seat: MakeSeat) -> None:
    third, runner = seat(Policy(divisor=3)), Scripted(0.3, -0.6)
    third.takes(runner)
    assert third.drives(6) == pytest.approx([0.3] * 3 + [-0.6] * 3)
    assert runner.asked == 2


def test_between_two_answers_the_command_is_led_in_equal_steps(seat: MakeSeat) -> None:
    third = seat(Policy(divisor=3, between="interpolate"))
    third.takes(Scripted(0.3, -0.6))
    assert third.drives(6) == pytest.approx([0.1, 0.2, 0.3, 0.0, -0.3, -0.6])
    assert float(third.pilot.requested[0]) == pytest.approx(-0.6)  # the answer as it came


def test_interpolation_reaches_the_answer_exactly(seat: MakeSeat) -> None:
    seventh = seat(Policy(divisor=7, between="interpolate"))
    answers = np.random.default_rng(0).uniform(-1, 1, 20).astype(np.float32).tolist()
    seventh.takes(Scripted(*answers))
    assert seventh.drives(140)[6::7] == answers


def test_a_policy_that_takes_over_is_asked_at_once(seat: MakeSeat) -> None:
    fourth, second = seat(Policy(divisor=4)), Scripted(0.7, 0.8)
    fourth.takes(Scripted(0.2))
    assert fourth.drives(2) == pytest.approx([0.2, 0.2])
    fourth.takes(second)
    assert fourth.drives(5) == pytest.approx([0.7] * 4 + [0.8])


def test_a_take_over_leads_on_from_the_present_command(seat: MakeSeat) -> None:
    half = seat(Policy(divisor=2, between="interpolate"))
    half.takes(Scripted(0.8))
    assert half.drives(1) == pytest.approx([0.4])
    half.takes(Scripted(0.0))
    assert half.drives(2) == pytest.approx([0.2, 0.0])


def test_an_episode_begins_with_a_question_and_without_a_last_command(seat: MakeSeat) -> None:
    half, runner = seat(Policy(divisor=2, between="interpolate")), Scripted(0.8)
    half.takes(runner)
    half.drives(3)
    half.pilot.begin()
    assert half.drives(2) == pytest.approx([0.4, 0.8])
    assert runner.asked == 3


def test_an_unusable_answer_is_not_held_but_asked_again(seat: MakeSeat) -> None:
    fifth, runner = seat(Policy(divisor=5)), Scripted(0.5, float("nan"), 0.7)
    fifth.takes(runner)
    assert fifth.drives(7) == pytest.approx([0.5] * 5 + [0.0, 0.7])
    assert fifth.pilot.flags == Flag.ASKED
    assert runner.asked == 3


def test_an_unusable_answer_is_told_beside_what_else_is_special(seat: MakeSeat) -> None:
    fifth = seat(Policy(divisor=5))
    fifth.takes(Scripted(float("nan")), exploration=0.1)
    fifth.drives(1)
    assert fifth.pilot.flags == Flag.ASKED | Flag.EXPLORING | Flag.BAD_POLICY


def test_unusable_answers_in_a_row_are_counted_in_ticks(furuta: RobotSpec, seat: MakeSeat) -> None:
    fifth = seat(Policy(divisor=5))
    fifth.takes(Scripted(float("nan")))
    assert fifth.drives(furuta.safety.bad_policy_ticks_to_hold - 1) == [0.0, 0.0]
    assert fifth.pilot.ask(OBS) is None


def test_exploration_is_drawn_once_per_answer_and_said_in_every_tick(seat: MakeSeat) -> None:
    third = seat(Policy(divisor=3))
    third.takes(Scripted(0.0), exploration=0.1)
    seen = []
    for _ in range(6):
        (command,) = third.drives(1)
        seen.append((command, third.pilot.flags, third.pilot.draw))
    commands, flags, draws = zip(*seen, strict=True)
    assert len(set(commands)) == 2
    assert flags == (Flag.EXPLORING | Flag.ASKED, Flag.EXPLORING, Flag.EXPLORING) * 2
    assert draws == (1, 0, 0, 2, 0, 0)


def test_without_exploration_no_tick_says_so(seat: MakeSeat) -> None:
    third, flags = seat(Policy(divisor=3)), []
    third.takes(Scripted(0.0))
    for _ in range(4):
        third.drives(1)
        flags.append(third.pilot.flags)
    assert flags == [Flag.ASKED, 0, 0, Flag.ASKED]


def test_the_noise_is_as_large_as_the_bundle_says(furuta: RobotSpec, seat: MakeSeat) -> None:
    place, drawn = seat(furuta.policy), np.zeros(1, dtype=np.float32)
    place.takes(Scripted(0.0), exploration=0.1)
    Noise(0).draw(drawn)
    assert place.drives(1) == pytest.approx([0.1 * float(drawn[0])])


@pytest.mark.parametrize(
    ("table", "rate"),
    [
        ("", Policy()),
        ("[policy]\ndivisor = 4\n", Policy(divisor=4)),
        (
            '[policy]\ndivisor = 2\nbetween = "interpolate"\n',
            Policy(divisor=2, between="interpolate"),
        ),
    ],
)
def test_the_robot_file_may_say_so(table: str, rate: Policy) -> None:
    assert parse_robot_spec(ROBOT.read_text() + table, "test.toml").policy == rate


@pytest.mark.parametrize("line", ["divisor = 0", "divisor = 2.5", 'between = "spline"', "rate = 2"])
def test_a_rate_that_makes_no_sense_is_refused(line: str) -> None:
    with pytest.raises(ConfigError, match=r"test\.toml"):
        parse_robot_spec(f"{ROBOT.read_text()}[policy]\n{line}\n", "test.toml")


def test_the_digest_covers_the_rate_and_not_how_its_absence_is_written(furuta: RobotSpec) -> None:
    text = ROBOT.read_text()
    same = parse_robot_spec(f'{text}[policy]\ndivisor = 1\nbetween = "hold"\n', "test.toml")
    assert same.digest() == furuta.digest()
    slower = msgspec.structs.replace(furuta, policy=Policy(divisor=2))
    smoother = msgspec.structs.replace(furuta, policy=Policy(divisor=2, between="interpolate"))
    assert len({furuta.digest(), slower.digest(), smoother.digest()}) == 3


def test_on_the_robot_every_other_tick_repeats_the_command(
    furuta: RobotSpec, rig_port: RigPort, tmp_path: Path, make_bundle: Callable[..., Path]
) -> None:
    spec = msgspec.structs.replace(furuta, policy=Policy(divisor=2))
    bench = Bench(spec, rig_port, tmp_path)
    bench.boot()
    bench.load(make_bundle(1, robot_digest=spec.digest()), 1)
    bench.obey(Start())
    bench.until(Mode.RUN)
    bench.run(40)
    rows = bench.rows()
    bench.close()
    requested = rows["requested"][rows["mode"] == Mode.RUN][:, 0]
    assert len(requested) == 40
    assert (requested[::2] == requested[1::2]).all()
    assert len(np.unique(requested)) == 20


class Failing(Scripted):
    def run(self) -> None:
        raise RuntimeError("the launch failed")


@pytest.fixture
def given_up(furuta: RobotSpec, monkeypatch: pytest.MonkeyPatch) -> tuple[Seat, list[str]]:
    """A seat, and why its policies were given up; one whose answers are no numbers comes next."""
    place, reasons = Seat(furuta, furuta.policy), list[str]()

    def roll_back(reason: str) -> bool:
        reasons.append(reason)
        place.takes(Scripted(float("nan")))
        return True

    monkeypatch.setattr(place.swap, "roll_back", roll_back)
    return place, reasons


def test_what_a_policy_raised_is_told_of_no_other(furuta: RobotSpec, given_up) -> None:
    place, reasons = given_up
    place.takes(Failing())
    N = furuta.safety.bad_policy_ticks_to_hold
    place.drives(2 * N)
    assert reasons == [
        f"policy 1 gave {N} unusable answers in a row: RuntimeError: the launch failed",
        f"policy 2 gave {N} unusable answers in a row",
    ]


def test_nor_in_another_episode(furuta: RobotSpec, given_up) -> None:
    place, reasons = given_up
    place.takes(Failing())
    place.drives(1)
    place.pilot.begin()
    place.takes(Scripted(float("nan")))
    place.drives(furuta.safety.bad_policy_ticks_to_hold)
    assert [reason.partition("in a row")[2] for reason in reasons] == [""]


def test_a_pilot_whose_first_episode_has_not_begun_has_nothing_to_go_on(
    furuta: RobotSpec, given_up
) -> None:
    place, reasons = given_up
    third = msgspec.structs.replace(furuta, policy=Policy(divisor=3))
    place.pilot, runner = Pilot(third, place.swap, Noise(0)), Scripted(float("nan"))
    assert (place.pilot.flags, place.pilot.draw, place.pilot.asked) == (0, 0, True)
    assert place.pilot.requested.dtype == np.float32
    place.takes(runner)
    place.drives(furuta.safety.bad_policy_ticks_to_hold)
    assert runner.asked == furuta.safety.bad_policy_ticks_to_hold
    assert reasons[0].endswith("in a row")
