"""Does the report stand alone, show what happened, and trust no text?"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from offboard.report import cell, page, plane_plot, returns_plot, timing_plot, uncertainty_plot

EPISODES = [{"total": float(t), "explored": t > 20} for t in (10, 20, 30, 40)]
RNG = np.random.default_rng(0)
PLOTS = {
    "returns": lambda: returns_plot(EPISODES, [1.5, 3.2], expert=50.0),
    "no episode": lambda: returns_plot([], [], expert=50.0),
    "plane": lambda: plane_plot(RNG.uniform(size=8), RNG.uniform(size=8), [1, 0] * 4),
    "none kept": lambda: plane_plot([0.1, 0.2], [1.0, 2.0], [0, 0]),
    "uncertainty": lambda: uncertainty_plot(np.array([0.0, 0.5]), np.array([0.0, 2.0]), 0.83),
    "timing": lambda: timing_plot([1.0, 10.0, 100.0], {"work": [5, 0, 1], "error": [2, 2]}),
}


def groups(svg: str, kind: str) -> list[str]:
    return re.findall(rf'<g id="({kind}_\d+)"', svg)


@pytest.mark.parametrize("name", PLOTS)
def test_a_plot_is_one_well_formed_svg(name: str) -> None:
    svg = PLOTS[name]()
    root = ET.fromstring(svg)
    assert root.tag.endswith("svg")


def test_every_swap_is_a_line_of_its_own() -> None:
    none, two = (
        groups(returns_plot(EPISODES, swaps, 50.0), "line2d") for swaps in ([], [1.5, 3.2])
    )
    assert len(two) - len(none) == 3  # two lines and their entry in the legend


def test_the_document_needs_nothing_from_outside() -> None:
    document = page("demo", {}, {name: draw() for name, draw in PLOTS.items()})
    assert document.count("<svg") == len(PLOTS)
    assert "<script" not in document
    assert "<link" not in document
    assert "@import" not in document
    links = re.findall(r'(?:href|src)="([^"]*)"', document) + re.findall(
        r"url\(([^)]*)\)", document
    )
    assert links
    assert all(link.startswith("#") for link in links)


def test_numbers_are_shown_as_people_read_them() -> None:
    document = page("demo", {"runtime": {"swaps": 7, "period_error_us": {"p50": 12.3456}}}, {})
    assert "<h2>runtime</h2>" in document
    assert "<tr><td>swaps</td><td>7</td></tr>" in document
    assert "<tr><td>period_error_us</td><td>p50 12.35</td></tr>" in document


@pytest.mark.parametrize(
    ("value", "text"),
    [(1234.5678, "1235"), (0.00012345, "0.0001234"), (None, "None"), ("fifo", "fifo")],
)
def test_a_cell_has_four_digits(value: object, text: str) -> None:
    assert cell(value) == text


def test_text_is_never_markup() -> None:
    evil = "<script>alert(1)</script>"
    document = page(evil, {evil: {evil: evil}}, {evil: "<svg></svg>"})
    assert "<script" not in document
    assert document.count("&lt;script&gt;") == 6
