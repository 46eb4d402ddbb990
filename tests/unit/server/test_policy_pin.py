"""Does a server learn which policy its operator wants, and keep to the last good word?"""

from __future__ import annotations

from pathlib import Path

import pytest

from offboard.policy_pin import PIN_FILE, PolicyPin, pin_policy, read_pin, unpin_policy
from protocol.errors import ConfigError, StoreError


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text("{}")
    return tmp_path


def test_a_pin_holds_until_it_is_taken_back(run: Path) -> None:
    pin = PolicyPin(run)
    assert (pin.refresh(), pin.version) == (False, 0)
    pin_policy(run, 13)
    assert (pin.refresh(), pin.version) == (True, 13)
    assert pin.refresh() is False
    unpin_policy(run)
    assert (pin.refresh(), pin.version) == (True, 0)


@pytest.mark.parametrize("content", [b"", b"{", b'{"version": 0}', b'{"version": 1, "x": 2}'])
def test_a_damaged_pin_changes_nothing(content: bytes, run: Path) -> None:
    pin = PolicyPin(run)
    pin_policy(run, 13)
    pin.refresh()
    (run / PIN_FILE).write_bytes(content)
    assert (pin.refresh(), pin.version) == (False, 13)
    with pytest.raises(StoreError, match=PIN_FILE):
        read_pin(run)


def test_only_policies_of_a_run_can_be_pinned(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="first one published is 1"):
        pin_policy(run, 0)
    with pytest.raises(ConfigError, match="holds no run"):
        pin_policy(tmp_path / "elsewhere", 1)
    with pytest.raises(ConfigError, match=r"no policy of .* is pinned"):
        unpin_policy(run)
