"""Are releases and assignments published as units believe them, beside a server that publishes?"""

from __future__ import annotations

from pathlib import Path
from threading import Thread

import pytest
from made_bundle import make_bundle
from made_fleet import HERE, made_release

from offboard.file_lock import waiting_lock
from offboard.fleet.assignments import (
    ASSIGNMENTS_PATH,
    Assignment,
    Assignments,
    assign,
    decode_assignments,
    encode_assignments,
)
from offboard.fleet.publication import Publication
from offboard.fleet.release_archive import release_archive, release_path
from offboard.fleet.release_store import ReleaseStore
from offboard.keys import OFFLINE_DIRECTORY, enrol_robot, init_server, load_server_keys
from offboard.publish import LOCK_FILE, open_repository
from onboard.bundle_fetcher import DirectoryFetcher
from onboard.update_client import UpdateClient
from onboard.version_floor import Floor
from onboard.wall_clock import WallClock
from protocol.errors import BundleError, ConfigError, StoreError


class Bench:
    def __init__(self, place: Path) -> None:
        self.keys, self.repository = place / "keys", place / "repository"
        init_server(self.keys)
        enrol_robot(self.keys, "duck", place / "duck")
        self.place = place
        self.publication = self.published_from(self.repository)

    def published_from(self, repository: Path) -> Publication:
        return Publication(self.keys, repository, [self.keys / OFFLINE_DIRECTORY])

    def publish(self, main: str = "", kept: tuple[str, ...] = ()) -> str:
        release = made_release(HERE, main)
        order = Assignment(release=release.id, target=HERE.name)
        archives = {release_path(release.id, HERE): release_archive(release)}
        self.publication.publish(archives, {"duck": order}, {"duck"}, kept)
        return release.id

    def client(self, repository: Path) -> UpdateClient:
        clock = WallClock(lambda: True)
        state = self.place / "duck"
        root = state / "tuf" / "root.json"
        return UpdateClient(root, state / "cache", DirectoryFetcher(repository), clock)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_unit_finds_its_line_and_its_release_in_the_slice(bench: Bench) -> None:
    other, release = bench.publish("# another"), bench.publish()
    bench.publication.extract({release}, bench.place / "slice")
    client = bench.client(bench.place / "slice")
    client.refresh(Floor())
    line = decode_assignments(client.fetch(ASSIGNMENTS_PATH, 1 << 20), "x").units["duck"]
    assert line == Assignment(release=release, target=HERE.name, since=2)
    assert client.fetch(release_path(release, HERE), 1 << 20) == release_archive(
        made_release(HERE, "")
    )
    with pytest.raises(BundleError):
        client.fetch(release_path(other, HERE), 1 << 20)


def test_a_slice_is_not_taken_while_a_server_publishes(bench: Bench) -> None:
    release, place = bench.publish(), bench.place / "slice"
    taking = Thread(target=bench.publication.extract, args=({release}, place))
    with waiting_lock(bench.repository / LOCK_FILE):
        taking.start()
        taking.join(1.0)
        assert taking.is_alive()
        assert not [*place.rglob("*.json")]
    taking.join()
    assert (place / "metadata" / "timestamp.json").is_file()


def test_lists_that_units_could_not_read_are_not_signed(bench: Bench) -> None:
    release = bench.publish()
    order = Assignment(release="../../etc/passwd", target=HERE.name)
    with pytest.raises(StoreError, match="to be signed"):
        bench.publication.publish({}, {"duck": order}, {"duck"})
    assert bench.publication.assignments().units["duck"].release == release


def test_the_counter_rises_with_every_publication_the_way_back_included(bench: Bench) -> None:
    assert bench.publication.assignments() == Assignments()
    counters = []
    for main in ("# a", "# b", "# a"):
        bench.publish(main)
        counters.append(bench.publication.assignments().counter)
    assert counters == [1, 2, 3]


def test_a_server_that_runs_goes_on_publishing_policies(bench: Bench) -> None:
    server = open_repository(bench.repository, load_server_keys(bench.keys).trust)
    release = bench.publish()
    bundle = make_bundle(1)
    server.publish(bundle.manifest, bundle.graph, bundle.weights)
    client = bench.client(bench.repository)
    client.refresh(Floor())
    assert client.fetch("policy/manifest.json", 1 << 20)
    assert client.fetch(release_path(release, HERE), 1 << 20)


def test_what_nobody_needs_is_removed(bench: Bench) -> None:
    first, second = bench.publish("# a"), bench.publish("# b")
    assert not bench.publication.has(first, HERE)
    assert bench.publication.has(second, HERE)
    assert len([*bench.repository.glob("targets/release/*/*")]) == 1
    assert len([*bench.repository.glob("targets/fleet/*")]) == 1


def test_what_one_may_go_back_to_is_kept(bench: Bench) -> None:
    first = bench.publish("# a")
    bench.publish("# b", kept=(first,))
    assert bench.publication.has(first, HERE)


def test_another_repository_is_not_taken_for_the_one_that_was_lost(bench: Bench) -> None:
    bench.publish()
    with pytest.raises(StoreError, match="is not there"):
        bench.published_from(bench.place / "elsewhere").assignments()


def test_without_the_release_managers_key_nothing_changes(bench: Bench) -> None:
    release = bench.publish("# a")
    (bench.keys / OFFLINE_DIRECTORY / "targets.pem").unlink()
    with pytest.raises(ConfigError, match="targets"):
        bench.publish("# b")
    assert bench.publication.assignments().units["duck"].release == release


def test_units_that_are_gone_lose_their_line() -> None:
    order = Assignment(release="0" * 16, target=HERE.name)
    held = assign(Assignments(), {"duck": order, "goose": order})
    assert assign(held, {}, {"duck"}).units == {"duck": held.units["duck"]}
    assert assign(held, {}).units.keys() == {"duck", "goose"}


@pytest.mark.parametrize(
    "data", [b"", b"[]", b'{"schema": 2}', b'{"units": {"duck": {}}}', b"\xff"]
)
def test_damaged_assignments_are_named(data: bytes) -> None:
    with pytest.raises(StoreError, match="somewhere"):
        decode_assignments(data, "somewhere")


def test_the_same_assignments_have_the_same_bytes() -> None:
    order = Assignment(release="0" * 16, target=HERE.name)
    one = assign(Assignments(), {"duck": order, "goose": order})
    other = assign(Assignments(), {"goose": order, "duck": order})
    assert encode_assignments(one) == encode_assignments(other)


def test_the_store_gives_what_it_was_given(tmp_path: Path) -> None:
    store, release = ReleaseStore(tmp_path), made_release(HERE)
    store.keep(release, HERE)
    store.keep(release, HERE)
    assert store.archive(release.id, HERE) == release_archive(release)
    with pytest.raises(ConfigError, match="not at hand"):
        store.archive("0" * 16, HERE)
