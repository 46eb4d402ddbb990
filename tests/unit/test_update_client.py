"""What the update client adds to python-tuf: clock, floor, disk."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from made_bundle import make_bundle
from made_updates import Bench, CountingFetcher

from onboard.update_client import UpdateClient
from onboard.version_floor import Floor
from onboard.wall_clock import WallClock
from protocol.errors import BundleError

NOW_S = 1_900_000_000


class Site:
    """A published bundle, and a client with a clock of its own."""

    def __init__(self, folder: Path) -> None:
        self.bench = Bench(folder)
        self.bench.repository.publish(*make_bundle(1))
        self.cache = folder / "cache"
        self.synchronised = True
        self.fetcher = CountingFetcher(self.bench.repository.directory)
        root = self.bench.state / "tuf" / "root.json"
        clock = WallClock(lambda: self.synchronised, lambda: NOW_S)
        self.client = UpdateClient(root, self.cache, self.fetcher, clock)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_a_clock_that_is_not_trusted_asks_for_nothing(site):
    site.synchronised = False
    with pytest.raises(BundleError, match="not synchronised"):
        site.client.refresh(Floor())
    assert site.fetcher.asked == []
    assert not site.cache.exists()


def test_the_floor_says_what_was_accepted_and_when(site):
    floor = site.client.refresh(Floor(bundle=7))
    assert (floor.root, floor.bundle, floor.seen_s) == (1, 7, NOW_S)
    assert floor.lists == {"targets": 1, "weights": 2, "snapshot": 2, "timestamp": 2}


def test_a_clock_that_went_back_is_noticed(site):
    with pytest.raises(BundleError, match="behind the time of the last one"):
        site.client.refresh(Floor(seen_s=NOW_S + 86_400))


@pytest.mark.parametrize("role", ["targets", "weights", "snapshot", "timestamp"])
def test_any_list_below_the_floor_is_refused(site, role):
    floor = site.client.refresh(Floor())
    above = Floor(floor.root, {**floor.lists, role: floor.lists[role] + 1}, floor.keys)
    with pytest.raises(BundleError, match=f"the {role} list is older"):
        site.client.refresh(above)


def test_a_list_that_disappeared_is_refused(site):
    floor = site.client.refresh(Floor())
    with pytest.raises(BundleError, match="the gone list is older"):
        site.client.refresh(Floor(floor.root, {**floor.lists, "gone": 1}, floor.keys))


def test_an_older_root_is_refused(site):
    with pytest.raises(BundleError, match="the root list is older"):
        site.client.refresh(Floor(root=2))


def test_what_was_accepted_is_on_the_disk_before_it_counts(site, monkeypatch):
    synced: set[str] = set()

    def fsync(handle: int, really=os.fsync) -> None:
        synced.add(os.readlink(f"/proc/self/fd/{handle}"))
        really(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    site.client.refresh(Floor())
    names = ("timestamp.json", "snapshot.json", "targets.json", "root_history/1.root.json", "")
    assert {str((site.cache / name).resolve()) for name in names} <= synced


def test_a_file_is_fetched_once_if_it_is_held(site):
    site.client.refresh(Floor())
    data = site.client.fetch("policy/manifest.json", 1 << 20)
    before = len(site.fetcher.asked)
    assert site.client.fetch("policy/manifest.json", 1 << 20, held=data) is data
    assert len(site.fetcher.asked) == before
    assert site.client.fetch("policy/manifest.json", 1 << 20, held=data + b"x") == data


def test_a_file_larger_than_it_may_be_is_not_fetched(site):
    site.client.refresh(Floor())
    with pytest.raises(BundleError, match="exceeds 10"):
        site.client.fetch("policy/manifest.json", 10)
    assert not any("manifest" in url for url in site.fetcher.asked)


def test_what_nobody_signed_is_not_fetched(site):
    site.client.refresh(Floor())
    for path in ("policy/other", "elsewhere/manifest.json", "../keys/server.secret"):
        with pytest.raises(BundleError, match="have no"):
            site.client.fetch(path, 1 << 20)


def test_without_a_look_there_is_no_file(site):
    with pytest.raises(BundleError, match="before any refresh"):
        site.client.fetch("policy/manifest.json", 1 << 20)


def test_a_full_disk_is_an_error_of_the_family(site, monkeypatch):
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BundleError, match=r"not stored: .*No space left"):
        site.client.refresh(Floor())
