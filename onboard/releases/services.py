"""The runtime's services as systemd runs them, and the few things a release asks of systemd."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from onboard.releases.unit_paths import AGENT, CONTROL, JUDGE
from protocol.errors import StoreError

_STOP_S = 60
_CHECK_S = 120
_QUICK_S = 30
_PROPERTIES = "ActiveState,Result,NRestarts,ExecMainStatus"


@dataclass(frozen=True)
class ServiceState:
    """What systemd says of one service.

    Attributes:
        active: ``ActiveState``: active, activating, inactive, failed, ….
        result: ``Result``: success, exit-code, watchdog, signal, ….
        restarts: how often systemd has started it again since it was started.
        exit_status: of its last main process.
    """

    active: str = "inactive"
    result: str = "success"
    restarts: int = 0
    exit_status: int = 0

    @property
    def stopped(self) -> bool:
        """No process of it runs, nor will by itself."""
        return self.active in ("inactive", "failed")


class Services(Protocol):
    """What a release needs systemd for."""

    def stop(self) -> None:
        """Stop control and agent. Raises StoreError if they do not."""

    def start(self) -> None:
        """Have control and agent started, counting from none; does not wait for them."""

    def state(self, service: str) -> ServiceState:
        """What systemd says of ``service``."""

    def bus_answers(self, release: str) -> bool:
        """Does the self-test of ``release`` pass? It moves nothing; control must be stopped."""

    def go_on_judging(self) -> None:
        """Have the release on trial judged further after this process has ended."""


Run = Callable[[Sequence[str], float], tuple[int, str]]


class Systemd:
    """:class:`Services` by ``systemctl``."""

    def __init__(self, run: Run | None = None) -> None:
        """``run`` takes arguments and seconds, returns exit status and output."""
        self._run = run or _systemctl

    def stop(self) -> None:
        """Stop control and agent. Raises StoreError if they do not."""
        status, text = self._run(["stop", CONTROL, AGENT], _STOP_S)
        if status != 0 or not self.state(CONTROL).stopped:
            raise StoreError(f"control did not stop: {text.strip() or status}")

    def start(self) -> None:
        """Have control and agent started, counting from none; does not wait for them."""
        self._run(["reset-failed", CONTROL, AGENT], _QUICK_S)
        self._run(["start", "--no-block", CONTROL, AGENT], _QUICK_S)

    def state(self, service: str) -> ServiceState:
        """What systemd says of ``service``."""
        _, text = self._run(["show", f"--property={_PROPERTIES}", service], _QUICK_S)
        found = dict(line.partition("=")[::2] for line in text.splitlines())
        return ServiceState(
            active=found.get("ActiveState", ""),
            result=found.get("Result", ""),
            restarts=_number(found.get("NRestarts", "")),
            exit_status=_number(found.get("ExecMainStatus", "")),
        )

    def bus_answers(self, release: str) -> bool:
        """Does the self-test of ``release`` pass? It moves nothing; control must be stopped."""
        status, _ = self._run(["start", f"wombet-bus-check@{release}.service"], _CHECK_S)
        return status == 0

    def go_on_judging(self) -> None:
        """Have the release on trial judged further after this process has ended."""
        self._run(["start", "--no-block", JUDGE], _QUICK_S)


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else 0


def _systemctl(arguments: Sequence[str], timeout_s: float) -> tuple[int, str]:
    argv = ["systemctl", *arguments]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout_s, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return 1, str(error)
    return done.returncode, done.stdout or done.stderr
