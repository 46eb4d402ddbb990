"""Does the cache return only what this machine has put there?"""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from onboard.backends import engine_cache
from onboard.backends.engine_cache import KEPT_PLANS, EngineCache, open_cache, plan_name
from protocol.errors import StoreError


@pytest.fixture
def cache(tmp_path: Path) -> EngineCache:
    return open_cache(tmp_path / "engines")


def files(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "engines").iterdir())


def test_what_was_put_is_there_after_a_restart(cache: EngineCache, tmp_path: Path) -> None:
    cache.put("a", b"plan")
    assert cache.get("a") == b"plan"
    assert open_cache(tmp_path / "engines").get("a") == b"plan"
    assert cache.get("b") is None


def test_nobody_else_can_read_it(cache: EngineCache, tmp_path: Path) -> None:
    cache.put("a", b"plan")
    assert [stat.S_IMODE(path.stat().st_mode) for path in files(tmp_path)] == [0o600, 0o600]


@pytest.mark.parametrize("where", [0, 31, 32, -1])
def test_a_changed_byte_anywhere_means_that_it_is_not_there(
    where: int, cache: EngineCache, tmp_path: Path
) -> None:
    cache.put("a", b"plan")
    (path,) = (path for path in files(tmp_path) if path.suffix == ".plan")
    data = bytearray(path.read_bytes())
    data[where] ^= 1
    path.write_bytes(data)
    assert cache.get("a") is None


def test_a_plan_under_another_name_is_not_there(cache: EngineCache, tmp_path: Path) -> None:
    cache.put("a", b"plan")
    (path,) = (path for path in files(tmp_path) if path.suffix == ".plan")
    path.rename(path.with_name("b.plan"))
    assert cache.get("b") is None


def test_a_plan_of_another_machine_is_not_there(cache: EngineCache, tmp_path: Path) -> None:
    cache.put("a", b"plan")
    other = open_cache(tmp_path / "other")
    (tmp_path / "other" / "a.plan").write_bytes((tmp_path / "engines" / "a.plan").read_bytes())
    assert other.get("a") is None


def test_a_file_cut_short_is_not_there(cache: EngineCache, tmp_path: Path) -> None:
    (tmp_path / "engines" / "a.plan").write_bytes(b"short")
    assert cache.get("a") is None


def test_the_last_used_few_are_kept(cache: EngineCache, tmp_path: Path) -> None:
    for index in range(KEPT_PLANS):
        cache.put(f"{index}", b"plan")
        os.utime(tmp_path / "engines" / f"{index}.plan", (index, index))
    assert cache.get("0") == b"plan"  # used now
    cache.put("new", b"plan")
    assert cache.get("1") is None
    assert {cache.get(name) for name in ("0", "2", "3", "new")} == {b"plan"}


def test_a_disk_that_refuses_costs_time_and_no_policy(cache: EngineCache, tmp_path: Path) -> None:
    (tmp_path / "engines" / "a.part").mkdir()  # the place of its temporary file
    cache.put("a", b"plan")
    assert cache.get("a") is None


def test_a_damaged_key_is_told(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"short")
    with pytest.raises(StoreError, match="no key of 32 bytes; remove it"):
        open_cache(tmp_path)


def test_a_key_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "key").mkdir()
    with pytest.raises(StoreError, match="cannot be read"):
        open_cache(tmp_path)


def test_a_huge_file_is_not_even_read(cache: EngineCache, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.put("a", b"plan")
    monkeypatch.setattr(engine_cache, "PLAN_MAX_BYTES", 35)
    assert cache.get("a") is None


def test_a_name_stands_for_everything_a_plan_is_bound_to() -> None:
    names = {
        plan_name(b"g", "10.3", "Orin"),
        plan_name(b"h", "10.3", "Orin"),
        plan_name(b"g", "10.4", "Orin"),
        plan_name(b"g", "10.3", "Thor"),
        plan_name(b"g", "10.3Orin", ""),
    }
    assert len(names) == 5
