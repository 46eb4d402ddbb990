"""The robot file of one unit: the common one with that unit's calibration in place.

The text is edited, not written anew, so that comments stay; parsing both proves that nothing but
the calibration changed.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping

from msgspec.structs import replace

from protocol.errors import ConfigError
from protocol.robot_spec import RobotSpec, parse_robot_spec

_JOINT = "[[joints]]"
_OFFSET = re.compile(r"^(\s*offset_rad\s*=\s*)[^\s#]+")
_NAME = re.compile(r"""^\s*name\s*=\s*["']([a-z0-9_]+)["']""")


def calibrated(text: str, offsets_rad: Mapping[str, float], origin: str) -> str:
    """Robot file ``text`` with ``offset_rad`` of the named joints replaced.

    Args:
        text: the common robot file.
        offsets_rad: by joint; ``position = sign * raw_rad / gear + offset``.
        origin: file name for error messages.

    Raises:
        ConfigError: the file is wrong, has no such joint, or cannot be edited line by line.
    """
    common = parse_robot_spec(text, origin)
    for joint in offsets_rad:
        common.joint_index(joint)
    if not offsets_rad:
        return text
    edited = "".join(_edited_joints(text.splitlines(keepends=True), offsets_rad))
    if parse_robot_spec(edited, f"{origin} with calibration") != _expected(common, offsets_rad):
        raise ConfigError(
            f"{origin}: calibration cannot be put in; give each joint a table [[joints]] of its "
            "own with name and offset_rad on lines of their own"
        )
    return edited


def _expected(common: RobotSpec, offsets_rad: Mapping[str, float]) -> RobotSpec:
    joints = [
        replace(joint, offset_rad=offsets_rad.get(joint.name, joint.offset_rad))
        for joint in common.joints
    ]
    return replace(common, joints=joints)


def _edited_joints(lines: list[str], offsets_rad: Mapping[str, float]) -> list[str]:
    """The lines, joint tables edited one by one."""
    starts = [i for i, line in enumerate(lines) if line.lstrip().startswith("[")] + [len(lines)]
    edited = lines[: starts[0]]
    for start, end in itertools.pairwise(starts):
        table = lines[start:end]
        names = [found[1] for line in table if (found := _NAME.match(line))]
        if table[0].startswith(_JOINT) and names and names[0] in offsets_rad:
            value = float(offsets_rad[names[0]])
            table = [_OFFSET.sub(rf"\g<1>{value!r}", line) for line in table]
        edited += table
    return edited
