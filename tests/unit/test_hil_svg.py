"""Lines over time, of robots with few joints and with many."""

from __future__ import annotations

import re

import numpy as np
import pytest

from sim_harness.hil.svg import LEFT, WIDTH, Axis, lines

TIME_S = np.linspace(0.0, 1.0, 20)
LINE = re.compile(
    r'<polyline points="([^"]*)" fill="none" stroke="(#\w+)" stroke-dasharray="([^"]+)"'
)
NAME = re.compile(r'<text x="([\d.-]+)" y="([\d.-]+)" fill="#\w+">(joint_\d+)<')


def drawn(joints: int) -> str:
    values = np.tile(np.linspace(-1.0, 1.0, TIME_S.size)[:, None], joints)
    return lines(Axis(0.0, 1.0), "rad", TIME_S, values, [f"joint_{n}" for n in range(joints)])


@pytest.mark.parametrize("joints", [1, 2, 6, 7, 12, 18])
def test_every_line_has_a_look_of_its_own_and_its_name_shows_it(joints):
    looks = [(colour, dash) for _, colour, dash in LINE.findall(drawn(joints))]
    assert looks[::2] == looks[1::2]  # the line, and the piece of it beside its name
    assert len(set(looks)) == joints


@pytest.mark.parametrize("joints", [1, 6, 7, 12, 18])
def test_every_name_is_in_the_picture_beside_no_other_and_above_the_lines(joints):
    picture = drawn(joints)
    places = [(float(x), float(y)) for x, y, _ in NAME.findall(picture)]
    assert len(set(places)) == joints
    assert all(LEFT <= x <= WIDTH - 120 for x, _ in places)
    dots = " ".join(points for points, _, _ in LINE.findall(picture)[::2]).split()
    heights = [float(dot.split(",")[1]) for dot in dots]
    height = float(re.search(r'viewBox="0 0 \d+ (\d+)"', picture)[1])
    assert max(y for _, y in places) < min(heights) < max(heights) < height
