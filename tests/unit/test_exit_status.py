"""Does every family of errors end with its own status, and is the table the one in the manual?"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from onboard import main
from onboard.exit_status import Exit, exit_for
from protocol.errors import (
    BundleError,
    BusError,
    ConfigError,
    StoreError,
    WireError,
    WombetError,
)

MANUAL = Path(__file__).parents[2] / "docs" / "operations.md"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ConfigError("x"), Exit.CONFIG),
        (BusError("x"), Exit.BUS),
        (WireError("x"), Exit.AWAY),
        (StoreError("x"), Exit.STORE),
        (BundleError("x"), Exit.BUNDLE),
        (WombetError("x"), Exit.DEFECT),
    ],
)
def test_each_family_has_its_status(error: WombetError, status: Exit) -> None:
    assert exit_for(error) is status
    assert exit_for(type("Narrower", (type(error),), {})("x")) is status


def test_the_manual_has_the_same_table() -> None:
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \|", MANUAL.read_text(encoding="utf-8"), re.M)
    assert {name: int(number) for number, name in rows} == {
        status.name: int(status) for status in Exit
    }


@pytest.mark.parametrize(
    ("error", "status"), [(BusError("no cable"), Exit.BUS), (KeyError("defect"), Exit.DEFECT)]
)
def test_the_program_ends_with_it(
    error: Exception,
    status: Exit,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(main, "check_install", fail)
    monkeypatch.setattr(main.faulthandler, "enable", lambda: None)
    monkeypatch.setattr(main.os, "umask", lambda mask: 0)
    monkeypatch.setattr(sys, "argv", ["wombet-onboard", "status"])
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert ended.value.code == status
    told = capsys.readouterr().err
    assert ("Traceback" in told) == (status is Exit.DEFECT)
    assert str(error) in told
