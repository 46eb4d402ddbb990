"""A scenario as data: what the robot does, what goes wrong when, and what must hold."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from protocol.errors import ConfigError
from protocol.modes import Mode
from protocol.robot_spec import PositionAction, RobotSpec
from protocol.table import NonNegative, Positive, Table
from sim_harness.hil.faults import AnyFault, obstacle

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ModeName = Literal["IDLE", "HOMING", "RUN", "RECOVER", "HOLD", "FAULT", "ESTOP"]
Temper = Literal["gentle", "wild", "pressing"]
Silence = Literal["releases", "holds"]
VERSIONS: dict[Temper, int] = {"gentle": 1, "wild": 2, "pressing": 3}
"""Of the policies that a scenario may ask for."""
LATCHED = frozenset({Mode.FAULT.name, Mode.ESTOP.name})


class Must(Table, frozen=True):
    """What has to hold. Without a mention: limits kept, effort allowed, no record lost.

    Attributes:
        end: modes of which the last one has to be.
        through: modes entered after the start of the scenario, in this order, others between.
        never: modes not entered.
        safe_within_ms: after the first fault begins, no motor is asked for anything.
        held_within_ms: after the first fault begins, no motor is asked for anything new for as long
            as it lasts: its goal stands still, or it has none.
        back_within_s: after the last fault ends, the robot runs its task.
        effort_max_frac: largest torque, as a share of ``safety.effort_max_nm``.
        beyond_rad: how far beyond its limits a joint may be thrown.
        pressed_ms: how long a motor may push a joint outwards that is near its limit.
        records: no step record is lost.
    """

    end: Annotated[list[ModeName], Meta(min_length=1)]
    through: tuple[ModeName, ...] = ()
    never: tuple[ModeName, ...] = ()
    safe_within_ms: Positive | None = None
    held_within_ms: Positive | None = None
    back_within_s: Positive | None = None
    effort_max_frac: Positive = 1.02
    beyond_rad: NonNegative = 0.0
    pressed_ms: Positive = 80.0
    records: bool = True


class Scenario(Table, frozen=True):
    """One run. Its clock starts when the robot has reached ``start``.

    Attributes:
        name: unique in its suite.
        about: why somebody should care.
        start: RUN; HOMING, from the first tick that moves; IDLE, where nobody said start.
        lasts_s: how long it is watched.
        faults: in any order.
        draws: so many more, drawn from ``menu`` with ``seed``: each as one of its tables, begun
            between 0 and its ``at_s``, for up to its ``for_s``.
        menu: what is drawn from.
        seed: of the draws, of the noise on wires and of the start pose.
        body: simulated body.
        policy: "gentle", "wild": it asks for full effort most of the time, or "pressing": it
            moves the first motor towards one end for ever.
        robots: on which it makes sense; empty for all.
        silence: it makes sense only where the motors do this by themselves when they hear nothing:
            "releases" their torque, or "holds" the joint.
        quick: part of the short selection.
        must: what has to hold.
    """

    name: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,47}\Z")]
    about: str
    must: Must
    start: Literal["IDLE", "HOMING", "RUN"] = "RUN"
    lasts_s: Annotated[float, Meta(gt=0.0, le=60.0)] = 3.0
    faults: tuple[AnyFault, ...] = ()
    draws: Annotated[int, Meta(ge=0, le=100)] = 0
    menu: tuple[AnyFault, ...] = ()
    seed: Annotated[int, Meta(ge=0)] = 0
    body: str = "nominal"
    policy: Temper = "gentle"
    robots: tuple[str, ...] = ()
    silence: Silence | None = None
    quick: bool = False


class Suite(Table, frozen=True):
    """A file of scenarios."""

    schema: Literal[1]
    scenarios: list[Scenario]


def parse_suite(text: str, origin: str) -> Suite:
    """A suite from TOML. Raises ConfigError that names ``origin`` and what is wrong."""
    try:
        raw: dict[str, Any] = tomllib.loads(text)
        suite = msgspec.convert(raw, Suite)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ConfigError(f"{origin}: {error}") from error
    names = [scenario.name for scenario in suite.scenarios]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"{origin}: several scenarios are called {', '.join(twice)}")
    for scenario in suite.scenarios:
        _check(scenario, origin)
    return suite


def load_suite(path: Path) -> Suite:
    """A suite from a file. Raises ConfigError."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror})") from error
    return parse_suite(text, str(path))


def reason_to_skip(scenario: Scenario, spec: RobotSpec) -> str | None:
    """Why a scenario cannot be had on this robot, if so. Raises ConfigError for unknown joints."""
    if scenario.robots and spec.name not in scenario.robots:
        return f"it is about {', '.join(scenario.robots)}"
    if scenario.silence not in (None, silence_of(spec)):
        return _OF_SILENCE[silence_of(spec)]
    if scenario.body not in spec.plant.bodies:
        return f"{spec.name} has no body {scenario.body!r}"
    reasons = [obstacle(fault, spec) for fault in (*scenario.faults, *scenario.menu)]
    return next((reason for reason in reasons if reason), None)


def silence_of(spec: RobotSpec) -> Silence:
    """What the motors do when they hear nothing; the action mode decides."""
    return "holds" if isinstance(spec.action, PositionAction) else "releases"


_OF_SILENCE: dict[Silence, str] = {
    "holds": "its motors keep their torque: without a word they hold their last goal or place",
    "releases": "its motors let go: without a word their watchdogs take the torque",
}


def _check(scenario: Scenario, origin: str) -> None:
    late = [fault for fault in scenario.faults if fault.at_s + fault.for_s > scenario.lasts_s]
    if late:
        raise ConfigError(f"{origin}: {scenario.name}: a fault goes on after {scenario.lasts_s} s")
    if scenario.draws and not scenario.menu:
        raise ConfigError(f"{origin}: {scenario.name}: there is no menu to draw from")
    must = scenario.must
    timed = must.safe_within_ms is not None or must.held_within_ms is not None
    if timed and not (scenario.faults or scenario.draws):
        raise ConfigError(f"{origin}: {scenario.name}: nothing happens that one could be safe from")
