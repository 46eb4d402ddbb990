"""A repository and a robot that updates from it, and a repository in the wrong hands."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from pathlib import Path

import pytest
from made_records import SPEC

from offboard.keys import ServerKeys, enrol_robot, init_server
from offboard.publish import Repository, open_repository
from onboard.bundle_fetcher import DirectoryFetcher
from onboard.bundle_store import BundleStore, Update
from onboard.update_client import UpdateClient
from onboard.version_floor import Floor
from onboard.wall_clock import WallClock
from protocol.errors import BundleError


class Bench:
    """A repository, a robot, and the floor the robot's agent would remember."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.keys = init_server(directory / "keys")
        self.repository = self.open(self.keys)
        self._robot("r")

    def enrolled(self, robot: str) -> Bench:
        """The same repository with another robot."""
        other = copy(self)
        other._robot(robot)
        return other

    def _robot(self, robot: str) -> None:
        self.state = self.directory / robot
        enrol_robot(self.directory / "keys", robot, self.state)
        self._synchronised: Callable[[], bool] = lambda: True
        self.floor = Floor()
        self.offer_instead(self.repository.directory)

    def read_with(self, fetcher: DirectoryFetcher) -> None:
        clock = WallClock(self._synchronised)
        self.store = BundleStore(self.state, SPEC, "swing_up", fetcher, clock)

    def use_clock(self, synchronised: Callable[[], bool]) -> None:
        self._synchronised = synchronised
        self.read_with(self.fetcher)

    @property
    def client(self) -> UpdateClient:
        return self.store._client

    def open(self, keys: ServerKeys, name: str = "repository", **options: object) -> Repository:
        return open_repository(self.directory / name, keys.trust, **options)

    def update(self) -> Update:
        update = self.store.update(self.floor)
        self.floor = update.floor
        return update

    def offer_instead(self, directory: Path) -> None:
        """Serve another repository from now on."""
        self.fetcher = CountingFetcher(directory)
        self.read_with(self.fetcher)

    def refused(self) -> str:
        """The reason; what is held must not have changed."""
        before = self.store.held()
        with pytest.raises(BundleError) as caught:
            self.update()
        assert self.store.held() == before
        return str(caught.value)


class CountingFetcher(DirectoryFetcher):
    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.asked: list[str] = []

    def _fetch(self, url):
        self.asked.append(url)
        return super()._fetch(url)
