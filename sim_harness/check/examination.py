"""Everything that is wrong with a robot file and its MJCF, each with its line and a remedy."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import msgspec

from protocol.errors import ConfigError
from protocol.robot_checks import problems
from protocol.robot_spec import RobotSpec
from sim_harness.check.advice import advised
from sim_harness.check.body import body_findings, bus_faults
from sim_harness.check.broken import DEEP_HINT, TOO_DEEP, toml_finding
from sim_harness.check.finding import Fault, Finding, Key
from sim_harness.check.places import Places
from sim_harness.check.survey import Survey

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_STEP = re.compile(r"\.(\w+)|\[(\d+)\]")


def examine(robot: Path) -> list[Finding]:
    """What is wrong with the robot file ``robot`` and its MJCF, by line; empty if nothing is.

    Raises:
        ConfigError: the file cannot be read at all.
    """
    try:
        text = robot.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{robot}: cannot read the robot file ({error}); pass hw_configs/NAME.toml, "
            "or make one: wombet-sim new-robot NAME"
        ) from error
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return [toml_finding(robot, text, error)]
    except RecursionError:
        return [Finding(robot, 1, TOO_DEEP, DEEP_HINT)]
    places = Places(text)
    found = [
        Finding(robot, places.line(each.key), each.text, each.hint)
        if isinstance(each, Fault)
        else each
        for each in _faults(document, robot)
    ]
    return sorted(dict.fromkeys(found), key=lambda finding: (finding.file != robot, finding.line))


def _faults(document: dict[str, Any], robot: Path) -> list[Fault | Finding]:
    """Types first; then, if those can be mended, what types cannot say; then the simulated body."""
    survey = Survey()
    mended = survey.read(document, RobotSpec, ())
    if not survey.sound:
        return [*survey.faults]
    try:
        spec = msgspec.convert(mended, RobotSpec)
    except msgspec.ValidationError as error:
        return [*survey.faults, _fault_of(error)]
    unfit = [advised(problem, mended, spec) for problem in problems(spec)]
    rest = [] if unfit else [*bus_faults(spec), *body_findings(spec, robot)]
    return [*survey.faults, *unfit, *rest]


def _fault_of(error: msgspec.ValidationError) -> Fault:
    """What the decoder says, if it knows of something the survey does not."""
    text, _, path = str(error).partition(" - at `$")
    key: Key = tuple(name or int(index) for name, index in _STEP.findall(path))
    return Fault(key, text)
