"""Finds the place and the remedy of a problem that ``protocol.robot_checks`` put into words.

Such a problem begins with its key, and quotes the words it is about. A remedy is tried on the
document before it is given as advice.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from protocol.robot_checks import problems
from protocol.robot_spec import RobotSpec
from sim_harness.check.expected import did_you_mean
from sim_harness.check.finding import Fault, Key
from sim_harness.check.units import converted, number

_LEAD = re.compile(r"[a-z_]\w*(?:\.\w+|\[\d+\])*")
_STEP = re.compile(r"\w+")
_QUOTED = re.compile(r"'([^']+)'")
_ONE_EACH = "one per actuated joint"
_SAME_ID = "joints.id must be unique"


def advised(problem: str, document: dict[str, Any], spec: RobotSpec) -> Fault:
    """``problem`` of ``spec``, as decoded from ``document``, with its place and what may help."""
    key = place(problem, document)
    unit = _unit_advice(key, document, spec)
    return unit._replace(text=problem) if unit else Fault(key, problem, _word_advice(problem, spec))


def place(problem: str, document: dict[str, Any]) -> Key:
    """The way to the value a problem is about, as far as it can be told."""
    lead = _LEAD.match(problem)
    key, value = _descend(_STEP.findall(lead[0]) if lead else [], document)
    rest = problem[lead.end() :] if lead else problem
    if isinstance(value, dict):
        named = [word for word in _STEP.findall(rest) if word in value]
        return (*key, named[0]) if named else _quoted(rest, key, value)
    return key


def _descend(steps: list[str], value: Any) -> tuple[Key, Any]:
    """Follow names as far as they lead; in a list of tables they are those tables' names."""
    key: Key = ()
    for step in steps:
        if isinstance(value, list) and value:
            names = [each.get("name") if isinstance(each, dict) else None for each in value]
            number = int(step) if step.isdigit() else len(value) - 1
            number = names.index(step) if step in names else number
            key, value = (*key, number), value[number]
            if step.isdigit() or step in names:
                continue
        if not isinstance(value, dict) or step not in value:
            break
        key, value = (*key, step), value[step]
    return key, value


def _quoted(text: str, key: Key, value: Any) -> Key:
    """Where below ``key`` a word stands that ``text`` quotes; else ``key``."""
    words = _QUOTED.findall(text)[:1]
    return next((at for at, leaf in _leaves(key, value) if leaf in words), key)


def _leaves(key: Key, value: Any) -> Iterator[tuple[Key, Any]]:
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for step, item in items:
            yield from _leaves((*key, step), item)
    else:
        yield key, value


def _word_advice(problem: str, spec: RobotSpec) -> str:
    """The first quoted word against those quoted after it, or against the joints' names."""
    if problem.endswith(_ONE_EACH):
        return f"in this order: {', '.join(joint.name for joint in spec.actuated)}"
    if problem.startswith(_SAME_ID):
        return _id_advice(spec)
    word, *known = [*_QUOTED.findall(problem), ""]
    found = did_you_mean(word, [*known[:-1]] or [joint.name for joint in spec.joints])
    return f"did you mean {found!r}?" if found and found != word else ""


def _id_advice(spec: RobotSpec) -> str:
    """Who shares an id, and one that nobody has."""
    owners: dict[int, list[str]] = {}
    for joint in spec.joints:
        owners.setdefault(joint.id, []).append(joint.name)
    shared = {number: names for number, names in owners.items() if len(names) > 1}
    free = next(number for number in range(1, len(owners) + 2) if number not in owners)
    told = "; ".join(f"{' and '.join(names)} have {number}" for number, names in shared.items())
    return f"{told}; {free} is free: set the motor's own register to it, then write it here"


def _unit_advice(key: Key, document: dict[str, Any], spec: RobotSpec) -> Fault | None:
    """A number at or in ``key`` that would make sense in another unit."""
    before = len(problems(spec))
    for at, value in _leaves(key, _value(document, key)):
        for unit, si in converted(str(at[-1]) if at else "", value):
            if _fewer(document, at, si, before):
                return Fault(at, "", f"{value:g} {unit.name}? write {at[-1]} = {number(si)}")
    return None


def _value(document: Any, key: Key) -> Any:
    for step in key:
        document = document[step]
    return document


def _fewer(document: dict[str, Any], key: Key, value: float, before: int) -> bool:
    """Whether ``value`` at ``key`` would leave fewer problems."""
    tried = copy.deepcopy(document)
    _value(tried, key[:-1])[key[-1]] = value
    try:
        return len(problems(msgspec.convert(tried, RobotSpec))) < before
    except msgspec.ValidationError:
        return False
