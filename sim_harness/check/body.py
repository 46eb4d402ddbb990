"""Does the MJCF fit the robot file? Where it does not, and in which of the two files to mend it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from xml.parsers import expat

from protocol.errors import ConfigError
from protocol.robot_spec import RobotSpec
from sim_harness.check.broken import xml_finding
from sim_harness.check.expected import did_you_mean
from sim_harness.check.finding import Fault, Finding
from sim_harness.firmware import firmware_for
from sim_harness.model import REST_KEY, compile_model, load_mjcf, misfits

_LINE = re.compile(r"\bline[: ]+(\d+)")
_RATE = re.compile(r"\d+")
_QUOTED = re.compile(r"'([^']+)'")
SITE_HINT = 'add <site name="{}" pos="x y z"/> in the MJCF, to the body that carries it'
REST_HINT = 'add <keyframe><key name="rest" qpos="…"/></keyframe>, an angle for each joint'


class Element(NamedTuple):
    """An MJCF element that has a name."""

    tag: str
    name: str
    line: int


def body_findings(spec: RobotSpec, robot: Path) -> Iterator[Finding | Fault]:
    """Everything in the MJCF and the bodies of ``spec``, whose file is ``robot``, that cannot be.

    Faults are the robot file's, findings the MJCF's.
    """
    mjcf_path = robot.parent / spec.plant.mjcf
    if not mjcf_path.is_file():
        yield _no_file(mjcf_path)
        return
    try:
        elements = _elements(mjcf_path)
        mjcf = load_mjcf(spec, robot.parent)
    except expat.ExpatError as error:
        yield xml_finding(mjcf_path, error)
    except ConfigError as error:
        yield Finding(mjcf_path, _line(str(error)), _without(mjcf_path, error))
    else:
        found = [*_misfits(mjcf, spec, mjcf_path, elements)]
        yield from found or _compiled(spec, robot)


def bus_faults(spec: RobotSpec) -> Iterator[Fault]:
    """What no motor on this bus can be told."""
    try:
        firmware_for(spec)
    except ConfigError as error:
        rates = [int(rate) for rate in _RATE.findall(str(error).partition("[")[2])]
        nearest = min(rates, key=lambda rate: abs(math.log(rate / spec.bus.baud)), default=0)
        hint = f"the nearest is {nearest:_}; the motors have to be set to it too" if nearest else ""
        yield Fault(("bus", "baud"), str(error), hint)


def _no_file(path: Path) -> Fault:
    beside = sorted(each.name for each in path.parent.glob("*.xml"))
    meant = did_you_mean(path.name, beside)
    text = f"plant.mjcf: there is no file {path}"
    return Fault(("plant", "mjcf"), text, f'did you mean "{meant}"?' if meant else "")


def _misfits(
    mjcf: Any, spec: RobotSpec, path: Path, elements: list[Element]
) -> Iterator[Finding | Fault]:
    seen = set[str]()
    for body_name, body in spec.plant.bodies.items():
        for text in misfits(mjcf, spec, body):
            if text not in seen:
                seen.add(text)
                yield _misfit(text, body_name, spec, path, elements)


def _misfit(
    text: str, body: str, spec: RobotSpec, path: Path, elements: list[Element]
) -> Finding | Fault:
    """Where ``text`` is to be mended: at what it quotes, in the file that has it."""
    word = next(iter(_QUOTED.findall(text)), "")
    joints = [joint.name for joint in spec.joints]
    hinges = [element.name for element in elements if element.tag == "joint"]
    at = next((element.line for element in elements if element.name == word), None)
    if at is not None:
        return Finding(path, at, text, _meant(word, joints))
    if word in joints:
        key = ("joints", joints.index(word), "name")
        return Fault(key, f"joints.{word}: {text}", _meant(word, hinges))
    if word == REST_KEY:
        return Finding(path, 1, text, REST_HINT)
    hint = ""
    if text.startswith("no site"):
        sites = [element.name for element in elements if element.tag == "site"]
        hint = _meant(word, sites) or SITE_HINT.format(word)
    return Fault(("plant", "bodies", body), f"{path.name}: {text}", hint)


def _meant(word: str, known: list[str]) -> str:
    found = did_you_mean(word, known)
    return f"did you mean {found!r}?" if found and found != word else ""


def _compiled(spec: RobotSpec, robot: Path) -> Iterator[Fault]:
    for name, body in spec.plant.bodies.items():
        try:
            compile_model(spec, body, robot.parent)
        except ConfigError as error:
            yield Fault(("plant", "bodies", name), f"plant.bodies.{name}: {error}")


def _elements(path: Path) -> list[Element]:
    """Named elements of an MJCF, but for those of included files. Raises ExpatError."""
    found: list[Element] = []
    parser = expat.ParserCreate()

    def begin(tag: str, attributes: dict[str, str]) -> None:
        if "name" in attributes:
            found.append(Element(tag, attributes["name"], parser.CurrentLineNumber))

    parser.StartElementHandler = begin
    parser.Parse(path.read_bytes(), True)
    return found


def _line(message: str) -> int:
    at = _LINE.search(message)
    return int(at[1]) if at else 1


def _without(path: Path, error: ConfigError) -> str:
    return " ".join(str(error).removeprefix(f"{path}: ").split())
