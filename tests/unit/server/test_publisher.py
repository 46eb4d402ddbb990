"""Is a bundle announced once it can be fetched, and not at all if it must not run?"""

from __future__ import annotations

import pytest
import torch
from made_bundle import Bundle, make_bundle

from offboard.keys import init_server
from offboard.publish import open_repository
from offboard.publisher import Publisher
from offboard.run_dir import RunDir
from protocol.errors import BundleError

ACTOR, SEEN = torch.zeros(3), torch.zeros(1, 7)


class Press:
    """An exporter whose bundles need no network; refuses on demand."""

    def __init__(self) -> None:
        self.origins: list[object] = []
        self.refuses = False

    def bundle(self, actor, seen, origin) -> Bundle:
        self.origins.append(origin)
        if self.refuses:
            raise BundleError("weights are not finite")
        return make_bundle(origin.version)


@pytest.fixture
def repository(tmp_path):
    keys = init_server(tmp_path / "keys")
    return open_repository(tmp_path / "repository", keys.trust)


def make(repository, tmp_path):
    """A publisher, its press, what it announced, and its run."""
    press, announced, run = Press(), [], RunDir(tmp_path)

    def announce(version: int) -> None:
        assert repository.latest_version == version  # it is there before anybody hears of it
        announced.append(version)

    return Publisher(press, SEEN, repository, announce, run), press, announced, run


def test_versions_count_up_and_know_their_parents(repository, tmp_path) -> None:
    publisher, press, announced, _ = make(repository, tmp_path)
    assert [publisher.publish(ACTOR, 1.0, {}) for _ in range(3)] == [1, 2, 3]
    assert announced == [1, 2, 3]
    assert [(o.version, o.parent_version) for o in press.origins] == [(1, 0), (2, 1), (3, 2)]


def test_a_restarted_publisher_goes_on_counting(repository, tmp_path) -> None:
    make(repository, tmp_path)[0].publish(ACTOR, 1.0, {})
    assert make(repository, tmp_path)[0].publish(ACTOR, 1.0, {}) == 2


def test_a_refused_actor_takes_no_number_and_is_not_announced(repository, tmp_path) -> None:
    publisher, press, announced, run = make(repository, tmp_path)
    press.refuses = True
    with pytest.raises(BundleError):
        publisher.publish(ACTOR, 1.0, {})
    assert (announced, run.metrics(), repository.latest_version) == ([], [], 0)
    press.refuses = False
    assert publisher.publish(ACTOR, 0.0, {}) == 1


def test_every_publication_is_logged_with_its_evaluation(repository, tmp_path) -> None:
    publisher, press, _, run = make(repository, tmp_path)
    publisher.publish(ACTOR, 0.5, {"imagined_return": 12.0})
    event = {"event": "published", "version": 1, "exploration": 0.5, "imagined_return": 12.0}
    assert run.metrics() == [event]
    assert press.origins[0].run == tmp_path.name
    assert press.origins[0].exploration_scale == 0.5
