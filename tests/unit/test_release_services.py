"""What is asked of systemd, and how its answers are read."""

from __future__ import annotations

import pytest

from onboard.releases.services import ServiceState, Systemd
from protocol.errors import StoreError

SHOWN = "Result=watchdog\nNRestarts=2\nExecMainStatus=6\nActiveState=activating\n"


class Answers:
    def __init__(self, status: int = 0, text: str = "") -> None:
        self.status, self.text = status, text
        self.asked: list[str] = []

    def __call__(self, arguments, timeout_s: float) -> tuple[int, str]:
        self.asked.append(" ".join(arguments))
        return self.status, self.text


def test_the_state_is_read_whatever_the_order():
    found = Systemd(Answers(text=SHOWN)).state("wombet-control.service")
    assert found == ServiceState("activating", "watchdog", 2, 6)
    assert not found.stopped


@pytest.mark.parametrize("text", ["", "NRestarts=[not set]\nActiveState=\n", "rubbish"])
def test_a_state_that_is_not_told_is_none(text):
    assert Systemd(Answers(text=text)).state("x.service") == ServiceState("", "", 0, 0)


def test_a_stop_that_fails_or_stops_nothing_is_an_error():
    with pytest.raises(StoreError, match="did not stop: no"):
        Systemd(Answers(1, "no")).stop()
    with pytest.raises(StoreError, match="did not stop"):
        Systemd(Answers(0, "ActiveState=active\n")).stop()
    Systemd(Answers(0, "ActiveState=inactive\n")).stop()


def test_a_start_counts_from_none_and_waits_for_nobody():
    answers = Answers()
    Systemd(answers).start()
    assert answers.asked == [
        "reset-failed wombet-control.service wombet-agent.service",
        "start --no-block wombet-control.service wombet-agent.service",
    ]


@pytest.mark.parametrize(("status", "answered"), [(0, True), (1, False)])
def test_the_bus_is_asked_by_another_releases_self_test(status, answered):
    answers = Answers(status)
    assert Systemd(answers).bus_answers("0123456789abcdef") is answered
    assert answers.asked == ["start wombet-bus-check@0123456789abcdef.service"]


def test_a_machine_without_systemctl_is_no_traceback(monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    assert Systemd().state("x.service") == ServiceState("", "", 0, 0)
