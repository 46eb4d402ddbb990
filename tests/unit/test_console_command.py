"""Is every word answered, in its turn, whatever it is and whether or not control is there?"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from onboard.console_command import converse
from onboard.control_api import Clear, Done, Estop, Request, Start, Stop
from onboard.control_socket import ControlClient
from protocol.errors import WireError


class Control:
    """Takes what it is told; ``away`` while it does not run."""

    def __init__(self) -> None:
        self.told: list[type[Request]] = []
        self.away = False

    def status(self) -> Done:
        return self.command(Stop())

    def command(self, request: Request) -> Done:
        if self.away:
            raise WireError("control is not running")
        self.told.append(type(request))
        return Done(ok=True, detail=type(request).__name__)


def said(control: object, *lines: str) -> list[dict[str, object]]:
    answers: list[str] = []
    converse(control, lines, answers.append, lambda: "latched alone")  # type: ignore[arg-type]
    return [json.loads(answer) for answer in answers]


def test_every_order_is_passed_on_and_answered_in_turn() -> None:
    control = Control()
    answers = said(control, "start\n", "stop\n", "estop\n", "clear\n")
    assert control.told == [Start, Stop, Estop, Clear]
    assert [answer["detail"] for answer in answers] == ["Start", "Stop", "Estop", "Clear"]


@pytest.mark.parametrize("word", ["", "START", "offer", "estop now"])
def test_what_is_no_order_is_told_so_and_does_nothing(word: str) -> None:
    control = Control()
    (answer,) = said(control, word + "\n")
    assert (answer["ok"], control.told) == (False, [])
    assert answer["detail"] == f"{word!r} is none of status, start, stop, estop, clear"


def test_without_control_one_is_told_so_and_may_ask_again(tmp_path: Path) -> None:
    answers = said(ControlClient(tmp_path / "none"), "status\n", "estop\n")
    assert [answer["ok"] for answer in answers] == [False, False]
    assert "control is not running" in str(answers[0]["detail"])
    assert str(answers[1]["detail"]).endswith("; latched alone")
    assert "latched" not in str(answers[0]["detail"])
