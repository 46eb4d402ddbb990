"""What the robot accepts, from a directory that may hold anything."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import msgspec
import numpy as np
import pytest
import safetensors.numpy
from made_bundle import Bundle, make_bundle, make_weights
from made_updates import Bench

from offboard.keys import init_server
from offboard.roles import utc_now
from onboard.bundle_store import KEPT_BUNDLES


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_published_bundle_arrives_whole(bench):
    bundle = make_bundle(1)
    bench.repository.publish(*bundle)
    assert bench.update().version == 1
    directory = bench.store.directory(1)
    assert (directory / "graph.onnx").read_bytes() == bundle.graph
    assert (directory / "weights.safetensors").read_bytes() == bundle.weights
    assert sorted(path.name for path in directory.iterdir()) == [
        "graph.onnx",
        "manifest.json",
        "signatures",
        "weights.safetensors",
    ]


def test_the_same_bundle_is_fetched_once(bench):
    bench.repository.publish(*make_bundle(1))
    assert [bench.update().version for _ in range(2)] == [1, 0]


def test_the_graph_is_fetched_once_for_an_architecture(bench):
    for version in (1, 2, 3):
        bench.repository.publish(*make_bundle(version))
        bench.update()
    assert bench.store.held() == [1, 2, 3]
    assert sum("graph" in url for url in bench.fetcher.asked) == 1


def alter(bench: Bench, pattern: str) -> None:
    (path,) = (bench.repository.directory / "targets" / "policy").glob(pattern)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("pattern", ["*.manifest.json", "*.onnx", "*.safetensors"])
def test_an_altered_file_is_refused(bench, pattern):
    bench.repository.publish(*make_bundle(1))
    alter(bench, pattern)
    assert "LengthOrHashMismatch" in bench.refused()


@pytest.mark.parametrize(
    "pattern", ["timestamp.json", "*.snapshot.json", "*.targets.json", "*.weights.json"]
)
def test_an_altered_list_is_refused(bench, pattern):
    bench.repository.publish(*make_bundle(1))
    for path in (bench.repository.directory / "metadata").glob(pattern):
        path.write_bytes(re.sub(rb'("version": ?)', rb"\g<1>1", path.read_bytes()))
    assert "refused" in bench.refused()


def test_an_oversized_file_is_cut_off(bench):
    bench.repository.publish(*make_bundle(1))
    (path,) = (bench.repository.directory / "targets" / "policy").glob("*.safetensors")
    path.write_bytes(path.read_bytes() + bytes(1 << 20))
    assert "exceeding the maximum allowed length" in bench.refused()


def test_bundles_signed_by_a_stranger_are_refused(bench):
    strangers = init_server(bench.directory / "strangers")
    other = bench.open(strangers, "theirs")
    other.publish(*make_bundle(1))
    bench.offer_instead(other.directory)
    assert "Unsigned" in bench.refused()


def test_an_older_repository_is_refused(bench):
    bench.repository.publish(*make_bundle(1))
    shutil.copytree(bench.repository.directory, bench.directory / "old")
    bench.repository.publish(*make_bundle(2))
    bench.update()
    bench.offer_instead(bench.directory / "old")
    assert "BadVersionNumber" in bench.refused()


@pytest.mark.parametrize("damage", ["truncate", "remove"])
def test_an_older_repository_is_refused_after_a_power_cut_took_the_cache(bench, damage):
    bench.repository.publish(*make_bundle(1))
    shutil.copytree(bench.repository.directory, bench.directory / "old")
    bench.repository.publish(*make_bundle(2))
    bench.update()
    for path in (bench.state / "tuf" / "cache").rglob("*.json"):
        path.write_bytes(b"") if damage == "truncate" else path.unlink()
    bench.offer_instead(bench.directory / "old")
    assert "older than" in bench.refused()


def test_expired_signatures_accept_nothing_new_and_take_nothing_away(bench):
    bench.repository.publish(*make_bundle(1))
    bench.update()
    past = bench.open(bench.keys, clock=lambda: utc_now() - timedelta(days=30))
    past.publish(*make_bundle(2))
    assert "Expired" in bench.refused()
    assert bench.store.held() == [1]
    assert bench.store.discard_damaged() == []


def resigned(version: int, **changes: object) -> Bundle:
    """A bundle that is properly published but makes other claims."""
    bundle = make_bundle(version)
    return bundle._replace(manifest=msgspec.structs.replace(bundle.manifest, **changes))


def with_weights(version: int, spoil: Callable[[dict[str, np.ndarray]], None]) -> Bundle:
    tensors = make_weights(version)
    spoil(tensors)
    weights = safetensors.numpy.save(tensors)
    digest = hashlib.sha256(weights).hexdigest()
    return resigned(version, weights_sha256=digest)._replace(weights=weights)


def poison(tensors: dict[str, np.ndarray]) -> None:
    tensors["a"][0, 0] = np.nan


def starve(tensors: dict[str, np.ndarray]) -> None:
    del tensors["b"]


@pytest.mark.parametrize(
    ("bundle", "named"),
    [
        (resigned(1, robot_digest="0" * 64), "robot digest"),
        (resigned(1, task="juggle"), "task"),
        (resigned(1, observation=["position:arm"]), "observation layout"),
        (resigned(1, control_hz=100), "control rate"),
        (resigned(1, golden_action=b""), "golden vectors"),
        (with_weights(1, poison), "weight a is not finite"),
        (with_weights(1, starve), "weight b is missing"),
    ],
)
def test_a_signed_bundle_that_does_not_fit_is_refused(bench, bundle, named):
    bench.repository.publish(*bundle)
    assert named in bench.refused()


def test_a_list_without_a_bundle_is_refused(bench):
    assert "no policy/manifest.json" in bench.refused()


def test_a_repository_that_is_away_is_an_error_and_no_more(bench):
    bench.offer_instead(bench.directory / "nowhere")
    assert "not fetched" in bench.refused()


def test_the_floor_rises_with_every_update(bench):
    floors = []
    for version in (1, 2):
        bench.repository.publish(*make_bundle(version))
        bench.update()
        floors.append(bench.floor)
    assert floors[0].bundle == 1
    assert floors[1].bundle == 2
    assert floors[0].lists["timestamp"] < floors[1].lists["timestamp"]
    assert floors[0].lists["weights"] < floors[1].lists["weights"]


def test_a_half_written_bundle_of_a_killed_agent_is_not_held(bench):
    bench.repository.publish(*make_bundle(1))
    partial = bench.state / "bundles" / ".part"
    partial.mkdir(parents=True)
    (partial / "weights.safetensors").write_bytes(b"half")
    assert bench.store.held() == []
    assert bench.update().version == 1


def test_a_held_bundle_that_a_power_cut_damaged_is_dropped_and_fetched_again(bench):
    bench.repository.publish(*make_bundle(1))
    bench.update()
    (bench.store.directory(1) / "weights.safetensors").write_bytes(b"")
    assert bench.store.discard_damaged() == [1]
    assert bench.store.held() == []
    assert bench.update().version == 1


def test_the_newest_few_and_the_active_one_are_kept(bench):
    for version in range(1, 9):
        bench.repository.publish(*make_bundle(version))
        bench.update()
    bench.store.prune({1})
    assert bench.store.held() == [1, *range(9 - KEPT_BUNDLES, 9)]
