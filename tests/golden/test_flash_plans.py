"""Is what `make flash` would run, word by word, what was agreed on for each module?

A plan changes on purpose or not at all: it erases a robot. `flash/MODULE.txt` holds it.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from made_fleet import made_fleet

from offboard.fleet.modules import MODULES
from offboard.fleet.plan import make_plan, plan_text
from protocol.errors import ConfigError

GOLDEN = Path(__file__).with_name("flash")
JETSONS = sorted(name for name, module in MODULES.items() if module.board)


@pytest.mark.parametrize("module", JETSONS)
def test_the_plan_is_the_one_agreed_on(module: str) -> None:
    unit = made_fleet(module=module, system="jetpack7").unit("duck")
    assert plan_text(make_plan("duck", unit)) == (GOLDEN / f"{module}.txt").read_text()


def test_every_golden_plan_is_of_a_module() -> None:
    assert sorted(path.stem for path in GOLDEN.glob("*.txt")) == JETSONS


def test_a_computer_that_is_no_jetson_has_no_plan() -> None:
    with pytest.raises(ConfigError, match="make provision UNIT=bench"):
        make_plan("bench", made_fleet().unit("bench"))


def test_the_licence_is_accepted_only_by_who_says_so() -> None:
    unit = made_fleet().unit("duck")
    assert "--accept-license" not in plan_text(make_plan("duck", unit))
    assert "--accept-license" in plan_text(make_plan("duck", unit, accept_license=True))
