"""The signed repository: versions only rise, a crash leaves the last publication whole."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import msgspec
import pytest
from made_bundle import make_bundle
from tuf.api.metadata import Metadata, Snapshot, Targets, Timestamp

from offboard import publish
from offboard.ceremony import rotate_role
from offboard.keys import OFFLINE_DIRECTORY, ServerKeys, init_server, load_server_keys
from offboard.publish import Repository, open_repository
from protocol.errors import BundleError, ConfigError, StoreError


@pytest.fixture
def keys(tmp_path: Path) -> ServerKeys:
    return init_server(tmp_path / "keys")


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2030, 1, 1, tzinfo=timezone.utc)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def opened(tmp_path: Path, keys: ServerKeys, clock: Clock) -> Repository:
    return open_repository(tmp_path / "repository", keys.trust, clock)


def listed(repository: Repository) -> Targets:
    """What a robot would see: timestamp → snapshot → targets → weights, verified on the way."""
    metadata = repository.directory / "metadata"
    root = Metadata.from_file(str(metadata / "1.root.json"))
    timestamp: Metadata[Timestamp] = Metadata.from_file(str(metadata / "timestamp.json"))
    root.verify_delegate("timestamp", timestamp)
    version = timestamp.signed.snapshot_meta.version
    snapshot: Metadata[Snapshot] = Metadata.from_file(str(metadata / f"{version}.snapshot.json"))
    root.verify_delegate("snapshot", snapshot)
    meta = snapshot.signed.meta
    targets: Metadata[Targets] = Metadata.from_file(
        str(metadata / f"{meta['targets.json'].version}.targets.json")
    )
    root.verify_delegate("targets", targets)
    weights: Metadata[Targets] = Metadata.from_file(
        str(metadata / f"{meta['weights.json'].version}.weights.json")
    )
    targets.verify_delegate("weights", weights)
    return weights.signed


def test_a_new_repository_is_signed_and_empty(tmp_path, keys, clock):
    repository = opened(tmp_path, keys, clock)
    assert repository.latest_version == 0
    assert listed(repository).targets == {}


def test_a_publication_lists_its_three_files_and_they_are_there(tmp_path, keys, clock):
    repository = opened(tmp_path, keys, clock)
    bundle = make_bundle(1)
    assert repository.publish(*bundle) == 1
    targets = listed(repository).targets
    assert set(targets) == {
        "policy/manifest.json",
        bundle.manifest.graph_path,
        bundle.manifest.weights_path,
    }
    for target in targets.values():
        (path,) = target.get_prefixed_paths()
        target.verify_length_and_hashes((repository.directory / "targets" / path).read_bytes())


def test_versions_rise_over_a_restart(tmp_path, keys, clock):
    repository = opened(tmp_path, keys, clock)
    repository.publish(*make_bundle(1))
    before = listed(repository).version
    repository = opened(tmp_path, keys, clock)
    assert repository.latest_version == 1
    repository.publish(*make_bundle(2))
    assert listed(repository).version == before + 1


@pytest.mark.parametrize("version", [1, 2])
def test_a_version_is_published_once(tmp_path, keys, clock, version):
    repository = opened(tmp_path, keys, clock)
    repository.publish(*make_bundle(2))
    with pytest.raises(BundleError, match="not newer than 2"):
        repository.publish(*make_bundle(version))


@pytest.mark.parametrize("part", ["graph", "weights"])
def test_a_manifest_must_name_the_bytes(tmp_path, keys, clock, part):
    repository = opened(tmp_path, keys, clock)
    bundle = make_bundle(1)._replace(**{part: b"something else"})
    with pytest.raises(BundleError, match=f"another {part}"):
        repository.publish(*bundle)
    assert repository.latest_version == 0


def test_old_files_go_and_the_last_five_weights_stay(tmp_path, keys, clock):
    repository = opened(tmp_path, keys, clock)
    for version in range(1, 31):
        repository.publish(*make_bundle(version))
    weights = {path for path in listed(repository).targets if "weights" in path}
    assert weights == {f"policy/weights-{version}.safetensors" for version in range(26, 31)}
    files = [*(repository.directory / "targets" / "policy").iterdir()]
    assert len(files) == 5 + 1 + 1
    assert len([*(repository.directory / "metadata").iterdir()]) < 25


def test_signatures_are_renewed_in_time_and_not_before(tmp_path, keys, clock):
    repository = opened(tmp_path, keys, clock)
    repository.publish(*make_bundle(1))
    assert not repository.renew()
    clock.now += timedelta(days=4)
    assert repository.renew()
    path = repository.directory / "metadata" / "timestamp.json"
    assert Metadata.from_file(str(path)).signed.expires > clock.now + timedelta(days=6)
    assert "policy/manifest.json" in listed(repository).targets


@pytest.mark.parametrize("writes", range(7))
def test_a_crash_at_any_write_leaves_the_last_publication(
    tmp_path, keys, clock, monkeypatch, writes
):
    repository = opened(tmp_path, keys, clock)
    repository.publish(*make_bundle(1))
    left = iter(range(writes))

    def failing(path: Path, data: bytes, really=publish.write_durably) -> None:
        if next(left, None) is None:
            raise StoreError("disk gone")
        really(path, data)

    monkeypatch.setattr(publish, "write_durably", failing)
    changed = make_bundle(2)
    if writes < 5:  # manifest, weights file, weights list, snapshot, timestamp
        with pytest.raises(StoreError):
            repository.publish(*changed)
    else:
        repository.publish(*changed)
    monkeypatch.undo()
    expected = 1 if writes < 5 else 2
    assert repository.latest_version == expected
    clock.now += timedelta(days=5)
    assert repository.renew(), "nothing of the failed publication may come along"
    again = opened(tmp_path, keys, clock)
    assert again.latest_version == expected
    assert f"policy/weights-{expected}.safetensors" in listed(again).targets
    again.publish(*make_bundle(3))
    assert listed(again).targets["policy/manifest.json"].custom == {"bundle": 3}


def test_a_repository_of_other_keys_is_refused(tmp_path, keys, clock):
    opened(tmp_path, keys, clock)
    others = init_server(tmp_path / "others")
    with pytest.raises(StoreError, match="not the root of these keys"):
        open_repository(tmp_path / "repository", others.trust, clock)


def test_a_damaged_repository_is_an_error_that_names_it(tmp_path, keys, clock):
    repository = opened(tmp_path, keys, clock)
    (repository.directory / "metadata" / "timestamp.json").write_bytes(b"{}")
    with pytest.raises(StoreError, match="damaged"):
        opened(tmp_path, keys, clock)


def test_a_manifest_keeps_its_meaning_on_the_way(tmp_path, keys, clock):
    repository = opened(tmp_path, keys, clock)
    bundle = make_bundle(1)
    repository.publish(*bundle)
    (path,) = (repository.directory / "targets" / "policy").glob("*.manifest.json")
    assert msgspec.json.decode(path.read_bytes(), type=type(bundle.manifest)) == bundle.manifest


def test_the_server_signs_nothing_but_bundles(tmp_path, keys, clock):
    repository = opened(tmp_path, keys, clock)
    repository.publish(*make_bundle(1))
    (targets,) = (repository.directory / "metadata").glob("*.targets.json")
    assert targets.read_bytes() == keys.trust.targets
    assert set(keys.trust.signers) == {"snapshot", "timestamp", "weights"}


def test_a_key_that_is_not_in_force_is_refused_before_anything_is_signed(tmp_path, keys, clock):
    repository = opened(tmp_path, keys, clock)
    before = {path: path.read_bytes() for path in repository.directory.rglob("*.json")}
    signers = {**keys.trust.signers, "weights": keys.trust.signers["snapshot"]}
    with pytest.raises(ConfigError, match="the weights key here is not the one in force"):
        open_repository(tmp_path / "repository", replace(keys.trust, signers=signers), clock)
    assert {path: path.read_bytes() for path in repository.directory.rglob("*.json")} == before


@pytest.mark.parametrize(
    ("role", "refusal"),
    [("snapshot", "the root has changed"), ("timestamp", "the root has changed"),
     ("targets", "the root has changed"), ("weights", "the weights key here is not the one")],
)  # fmt: skip
def test_a_server_whose_keys_were_retired_meanwhile_signs_nothing(
    role: str, refusal: str, tmp_path, keys, clock
):
    """Somebody changed a key and deployed; robots would refuse what this process signs."""
    running = opened(tmp_path, keys, clock)
    media = [tmp_path / "keys" / OFFLINE_DIRECTORY]
    rotate_role(tmp_path / "keys", media, role, clock())
    opened(tmp_path, load_server_keys(tmp_path / "keys"), clock)
    before = {path: path.read_bytes() for path in running.directory.rglob("*.json")}
    clock.now += timedelta(days=4)
    for _ in range(2):
        with pytest.raises(ConfigError, match=refusal):
            running.publish(*make_bundle(1))
    with pytest.raises(ConfigError, match=refusal):
        running.renew()
    assert {path: path.read_bytes() for path in running.directory.rglob("*.json")} == before
