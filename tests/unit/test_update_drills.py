"""Attacks on updates, and what the owner does about them: every drill against the real parts.

The robot reads a directory here; that it makes no difference over the wire is tested elsewhere.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from made_bundle import make_bundle
from made_updates import Bench
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, TargetFile

from offboard.ceremony import list_files, renew_root, renew_targets, rotate_role
from offboard.keys import load_server_keys
from offboard.publish import Repository
from offboard.roles import OFFLINE, ONLINE, utc_now
from onboard.bundle_fetcher import DirectoryFetcher
from protocol.errors import BundleError, ConfigError

SERVER_LISTS = ("timestamp", "snapshot", "weights")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


class Thief(Repository):
    """Publishes with whatever keys it has."""

    def _check_keys(self, targets) -> None:
        pass


def stolen(bench: Bench, *roles: str) -> Thief:
    """A copy of the repository, run by someone who has the keys of ``roles`` and no others."""
    directory = bench.directory / "stolen"
    shutil.copytree(bench.repository.directory, directory)
    own = {role: CryptoSigner.generate_ed25519() for role in ONLINE}
    keys = {role: bench.keys.trust.signers[role] for role in roles}
    thief = Thief(directory, replace(bench.keys.trust, signers={**own, **keys}), utc_now)
    thief.load()
    return thief


def rotate(bench: Bench, *roles: str) -> None:
    """The ceremony for each role; then the server is started again."""
    keys = bench.directory / "keys"
    for role in roles:
        rotate_role(keys, [keys / "offline"], role, utc_now())
    restart(bench)


def restart(bench: Bench) -> None:
    bench.keys = load_server_keys(bench.directory / "keys")
    bench.repository = bench.open(bench.keys)


# Without a key.


def test_rollback_to_an_older_publication_is_refused(bench):
    bench.repository.publish(*make_bundle(1))
    shutil.copytree(bench.repository.directory, bench.directory / "old")
    bench.repository.publish(*make_bundle(2))
    bench.update()
    bench.offer_instead(bench.directory / "old")
    assert "BadVersionNumber" in bench.refused()


def test_freeze_ends_when_the_timestamp_expires(bench):
    past = bench.open(bench.keys, "frozen", clock=lambda: utc_now() - timedelta(days=7, seconds=1))
    past.publish(*make_bundle(1))
    bench.offer_instead(past.directory)
    assert "ExpiredMetadata" in bench.refused()


@pytest.mark.parametrize("name", ["timestamp", "1.weights", "1.snapshot", "1.targets"])
def test_endless_data_is_cut_off_at_what_a_list_may_have(bench, name):
    class Endless(DirectoryFetcher):
        sent = 0

        def _fetch(self, url: str) -> Iterator[bytes]:
            if not url.endswith(f"/{name}.json"):
                yield from super()._fetch(url)
                return
            while True:
                Endless.sent += 1 << 16
                yield bytes(1 << 16)

    bench.read_with(Endless(bench.repository.directory))
    assert "not fetched" in bench.refused()
    assert Endless.sent <= (5 << 20) + (1 << 16)


def test_endless_targets_are_cut_off_at_the_signed_length(bench):
    class Endless(DirectoryFetcher):
        def _fetch(self, url: str) -> Iterator[bytes]:
            yield from super()._fetch(url)
            while url.endswith(".onnx"):
                yield bytes(1 << 16)

    bench.repository.publish(*make_bundle(1))
    bench.read_with(Endless(bench.repository.directory))
    assert "exceeding the maximum allowed length" in bench.refused()


@pytest.mark.parametrize("role", ["snapshot", "weights"])
def test_lists_of_different_publications_do_not_mix(bench, role):
    bench.repository.publish(*make_bundle(1))
    metadata = bench.repository.directory / "metadata"
    (older,) = metadata.glob(f"2.{role}.json")
    bench.repository.publish(*make_bundle(2))
    shutil.copyfile(older, metadata / f"3.{role}.json")
    assert "BadVersionNumber" in bench.refused()


@pytest.mark.parametrize("damage", [b"", None])
@pytest.mark.parametrize("lost", [*SERVER_LISTS, "targets", "root", "all"])
def test_an_older_repository_is_refused_whatever_a_power_cut_took_of_the_cache(bench, lost, damage):
    bench.repository.publish(*make_bundle(1))
    shutil.copytree(bench.repository.directory, bench.directory / "old")
    bench.repository.publish(*make_bundle(2))
    bench.update()
    cache = bench.state / "tuf" / "cache"
    for path in cache.rglob("*.json" if lost == "all" else f"*{lost}.json"):
        path.unlink()
        if damage is not None:
            path.write_bytes(damage)
    bench.offer_instead(bench.directory / "old")
    assert "refused" in bench.refused()
    bench.offer_instead(bench.repository.directory)
    assert bench.update().version == 0, "and the true one is taken again"


def test_a_held_bundle_is_proved_at_boot_without_repository_cache_or_clock(bench):
    bench.repository.publish(*make_bundle(1))
    bench.update()
    shutil.rmtree(bench.state / "tuf" / "cache")
    shutil.rmtree(bench.repository.directory)
    bench.use_clock(lambda: False)
    assert bench.store.discard_damaged() == []


def spoiled(name: str) -> Callable[[Path], None]:
    def spoil(bundle: Path) -> None:
        data = bytearray((bundle / name).read_bytes())
        data[len(data) // 2] ^= 1
        (bundle / name).write_bytes(data)

    return spoil


@pytest.mark.parametrize(
    "spoil",
    [
        *(spoiled(name) for name in ("manifest.json", "graph.onnx", "weights.safetensors")),
        *(spoiled(f"signatures/{name}.json") for name in ("targets", "weights")),
        lambda bundle: (bundle / "signatures" / "weights.json").unlink(),
        lambda bundle: shutil.rmtree(bundle / "signatures"),
    ],
)
def test_a_held_bundle_that_is_not_as_it_was_signed_is_dropped_at_boot(bench, spoil):
    bench.repository.publish(*make_bundle(1))
    bench.update()
    spoil(bench.store.directory(1))
    assert bench.store.discard_damaged() == [1]


def test_a_bundle_that_was_put_there_by_hand_is_dropped_at_boot(bench):
    """Consistent in itself, with signatures of another bundle."""
    for version in (1, 2):
        bench.repository.publish(*make_bundle(version))
        bench.update()
    two = bench.store.directory(2)
    shutil.rmtree(two / "signatures")
    shutil.copytree(bench.store.directory(1) / "signatures", two / "signatures")
    assert bench.store.discard_damaged() == [2]


# With keys of the server.


@pytest.mark.parametrize("role", SERVER_LISTS)
def test_one_stolen_key_of_the_server_publishes_nothing(bench, role):
    bench.repository.publish(*make_bundle(1))
    bench.update()
    thief = stolen(bench, role)
    thief.publish(*make_bundle(2))
    bench.offer_instead(thief.directory)
    assert "Unsigned" in bench.refused()


def test_the_weights_key_cannot_sign_what_is_not_a_policy(bench):
    bench.repository.publish(*make_bundle(1))
    thief = stolen(bench, *SERVER_LISTS)
    wheel = b"a runtime of mine"
    target = TargetFile.from_data("releases/wombet.whl", wheel, ["sha256"])
    thief._weights.targets[target.path] = target
    thief._advance()
    thief._commit()
    bench.offer_instead(thief.directory)
    bench.update()
    with pytest.raises(BundleError, match=r"no releases/wombet\.whl"):
        bench.client.fetch("releases/wombet.whl", 1 << 20)


def test_a_taken_server_is_taken_back_by_new_keys_without_a_visit(bench):
    """It ran the versions up as far as they go, which is undone with its keys."""
    bench.repository.publish(*make_bundle(1))
    bench.update()
    thief = stolen(bench, *SERVER_LISTS)
    for signed in (thief._weights, thief._snapshot, thief._timestamp):
        signed.version = 2**31
    thief.publish(*make_bundle(2))
    bench.offer_instead(thief.directory)
    assert bench.update().version == 2

    rotate(bench, "snapshot", "timestamp", "weights")
    bench.offer_instead(bench.repository.directory)
    bench.repository.publish(*make_bundle(3))
    assert bench.update().version == 3
    thief.publish(*make_bundle(4))
    bench.offer_instead(thief.directory)
    assert "refused" in bench.refused(), "the old keys are worth nothing now"


def test_the_weights_key_alone_is_replaced_by_the_release_manager_alone(bench):
    bench.repository.publish(*make_bundle(1))
    bench.update()
    thief = stolen(bench, *SERVER_LISTS)
    root = bench.keys.root
    keys = bench.directory / "keys"
    for holder in ("root-1", "root-2", "root-3"):
        (keys / "offline" / f"{holder}.pem").rename(bench.directory / holder)
    rotate(bench, "weights")
    assert bench.keys.root == root
    bench.repository.publish(*make_bundle(2))
    assert bench.update().version == 2
    thief.publish(*make_bundle(3))
    bench.offer_instead(thief.directory)
    assert "refused" in bench.refused()


# With keys that are offline.


def test_one_stolen_root_key_replaces_nothing(bench):
    keys = bench.directory / "keys"
    for holder in ("root-2", "root-3"):
        (keys / "offline" / f"{holder}.pem").unlink()
    with pytest.raises(ConfigError, match="1 of the 2 root keys"):
        rotate_role(keys, [keys / "offline"], "timestamp", utc_now())
    forged = Metadata.from_bytes(bench.keys.root)
    forged.signed.version = 2
    thief = load_pem(keys / "offline" / "root-1.pem")
    forged.sign(thief)
    (bench.repository.directory / "metadata" / "2.root.json").write_bytes(forged.to_bytes())
    assert "Unsigned" in bench.refused()


def load_pem(path: Path) -> CryptoSigner:
    from offboard.role_keys import load_role_key

    return load_role_key(path)


@pytest.mark.parametrize("role", [*OFFLINE, *ONLINE])
def test_every_key_can_be_replaced_and_robots_follow(bench, role):
    bench.repository.publish(*make_bundle(1))
    bench.update()
    rotate(bench, role)
    bench.repository.publish(*make_bundle(2))
    assert bench.update().version == 2
    assert bench.store.discard_damaged() == []


def test_every_key_is_replaced_twice_while_a_robot_is_away(bench):
    bench.repository.publish(*make_bundle(1))
    bench.update()
    for _ in range(2):
        rotate(bench, *OFFLINE, *ONLINE)
    bench.repository.publish(*make_bundle(2))
    assert bench.update().version == 2
    assert bench.floor.root == 1 + 2 * (len(OFFLINE) + len(ONLINE) - 1)
    assert bench.store.discard_damaged() == []


def test_a_lost_root_key_is_replaced_by_the_other_two(bench):
    keys = bench.directory / "keys"
    (keys / "offline" / "root-2.pem").unlink()
    rotate(bench, "root-2")
    (keys / "offline" / "root-1.pem").unlink()
    rotate(bench, "timestamp")
    bench.repository.publish(*make_bundle(1))
    assert bench.update().version == 1


def test_root_and_targets_are_renewed_before_they_expire(bench):
    keys = bench.directory / "keys"
    renew_root(keys, [keys / "offline"], utc_now())
    renew_targets(keys, [keys / "offline"], utc_now())
    restart(bench)
    bench.repository.publish(*make_bundle(1))
    assert bench.update().version == 1
    assert (bench.floor.root, bench.floor.lists["targets"]) == (2, 2)


def test_a_key_change_that_was_cut_short_is_done_again(bench):
    """The new key was written and the list that names it was not."""
    keys = bench.directory / "keys"
    targets = (keys / "tuf" / "targets.json").read_bytes()
    rotate_role(keys, [keys / "offline"], "weights", utc_now())
    (keys / "tuf" / "targets.json").write_bytes(targets)
    with pytest.raises(ConfigError, match="rotate-role weights"):
        restart(bench)
    rotate(bench, "weights")
    bench.repository.publish(*make_bundle(1))
    assert bench.update().version == 1


def test_a_robot_enrolled_after_a_change_starts_from_the_new_root(bench):
    rotate(bench, "timestamp")
    bench.repository.publish(*make_bundle(1))
    late = bench.enrolled("late")
    assert late.update().version == 1
    assert late.floor.root == 2


def test_a_release_is_listed_by_its_manager_and_fetched_by_the_same_client(bench):
    keys, wheel = bench.directory / "keys", b"a wheel"
    served = list_files(keys, [keys / "offline"], {"releases/wombet.whl": wheel}, utc_now())
    for name, data in served.items():
        path = bench.repository.directory / "targets" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    restart(bench)
    bench.repository.publish(*make_bundle(1))
    assert bench.update().version == 1
    assert bench.client.fetch("releases/wombet.whl", 1 << 20) == wheel


def test_the_release_manager_does_not_list_policies(bench):
    keys = bench.directory / "keys"
    with pytest.raises(ConfigError, match="use another folder"):
        list_files(keys, [keys / "offline"], {"policy/manifest.json": b"{}"}, utc_now())
