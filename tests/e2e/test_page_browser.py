"""Does the live page work in a real browser, for whom it should and for nobody else?

Debian's Chromium over a recorded run; `make test-page` does the same with a robot that learns.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from made_page import UNIT, make_run
from page_visit import (
    CHROMIUM,
    DESK,
    PHONE,
    VIEWS,
    Visitor,
    chromium,
    page_of,
    standing_in,
)

from offboard.policy_pin import read_pin

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(400),
    pytest.mark.skipif(not CHROMIUM.exists(), reason="Debian's chromium is not installed"),
    pytest.mark.skipif(find_spec("nicegui") is None, reason="needs requirements/page.txt"),
    pytest.mark.skipif(find_spec("playwright") is None, reason="needs requirements/page.txt"),
]
CHARTS = {"/": 0, f"/robot/{UNIT}": 6, "/learning": 3, "/prior": 2, "/policies": 0, "/alarms": 0}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    run = make_run(tmp_path_factory.mktemp("page"))
    with standing_in(run):
        yield run


@pytest.fixture(scope="module")
def address(run: Path) -> Iterator[str]:
    with page_of(run) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def visitor(browser: Any, address: str, run: Path) -> Iterator[Visitor]:
    visitor = Visitor(browser, address, DESK)
    visitor.log_in(run)
    yield visitor
    visitor.context.close()


def test_a_stranger_sees_the_form_and_nothing_else(browser: Any, address: str, run: Path) -> None:
    stranger = Visitor(browser, address, DESK)
    for view in VIEWS:
        stranger.page.goto(f"{address}{view}")
        assert stranger.page.url == f"{address}/login"
    stranger.page.fill("#key", "guess")
    stranger.page.click("button")
    assert "not the key" in stranger.page.inner_text("[role=alert]")
    assert UNIT not in stranger.page.content()
    stranger.context.close()


def test_every_view_can_be_reached_by_clicking_and_draws(visitor: Visitor) -> None:
    for title, charts in (("Learning", 3), ("Prior data", 2), ("Policies", 0), ("Alarms", 0)):
        visitor.page.click(f"nav.tabs a:text-is('{title}')")
        visitor.page.wait_for_selector(f"main h1:text-is('{title}')")
        visitor.drawn(charts)
    visitor.page.click("nav.tabs a:text-is('Robots')")
    visitor.page.click(f"main a:text-is('{UNIT}')")
    visitor.drawn(CHARTS[f"/robot/{UNIT}"])
    assert visitor.complaints == []


def test_what_a_word_means_is_a_tap_away(visitor: Visitor) -> None:
    hint = visitor.page.locator("details.fact:has-text('Missed ticks') .hint").first
    assert not hint.is_visible()
    visitor.page.click("details.fact summary:has-text('Missed ticks')")
    hint.wait_for(state="visible")


def test_the_charts_of_a_robot_move(visitor: Visitor) -> None:
    visitor.go(f"/robot/{UNIT}")
    visitor.page.wait_for_selector("text=Live, a second or two behind the robot.")
    before = visitor.page.inner_text("text=/RUN, policy 6/")
    visitor.page.wait_for_function(
        "before => !document.body.innerText.includes(before)", arg=before
    )
    visitor.page.wait_for_selector("text=/RUN, policy 6/")


def test_robots_are_sent_back_to_a_policy_and_let_go(visitor: Visitor, run: Path) -> None:
    visitor.go("/policies")
    visitor.page.click("[aria-label='Go back to this one: 3']")
    assert read_pin(run) == 0  # not before the question was answered
    visitor.page.click("button:has-text('Pin it')")
    visitor.page.wait_for_selector("text=Robots stay with policy 3, which is pinned.")
    assert read_pin(run) == 3
    visitor.page.click("button:has-text('Let newer policies out')")
    visitor.page.wait_for_selector("text=No policy is pinned")
    assert read_pin(run) == 0


@pytest.mark.parametrize("view", VIEWS)
def test_it_fits_a_phone(browser: Any, address: str, run: Path, view: str) -> None:
    holder = Visitor(browser, address, PHONE)
    holder.log_in(run)
    assert holder.too_wide_px() <= 0
    holder.go(view)
    holder.drawn(CHARTS[view])
    assert holder.too_wide_px() <= 0
    assert holder.complaints == []
    holder.context.close()


def test_who_logs_out_is_out(visitor: Visitor, address: str) -> None:
    visitor.page.click("a:text-is('Log out')")
    visitor.page.goto(f"{address}/alarms")
    assert visitor.page.url == f"{address}/login"
