"""Is a bundle for another robot, or an older one, refused by the first claim that does not fit?"""

from __future__ import annotations

import json

import msgspec
import numpy as np
import pytest
from made_bundle import make_bundle
from made_records import SPEC

from protocol.bundle import (
    MANIFEST_MAX_BYTES,
    Manifest,
    check_manifest,
    decode_manifest,
    encode_manifest,
)
from protocol.errors import BundleError

HONEST = make_bundle(version=5).manifest
NAN = np.full(3, np.nan, dtype="<f4").tobytes()


def claiming(**claims: object) -> Manifest:
    return msgspec.structs.replace(HONEST, **claims)


def refusal(manifest: Manifest, floor: int = 0) -> str:
    with pytest.raises(BundleError) as caught:
        check_manifest(manifest, SPEC, "swing_up", floor)
    return str(caught.value)


def test_an_honest_manifest_yields_its_golden_vectors() -> None:
    golden = check_manifest(HONEST, SPEC, "swing_up", floor=4)
    assert (golden.obs.shape, golden.noise.shape, golden.action.shape) == ((3, 7), (3, 1), (3, 1))
    assert golden.obs.tobytes() == HONEST.golden_obs
    assert golden.action.tobytes() == HONEST.golden_action


FALSE_CLAIMS = {
    "another robot": ({"robot_digest": "0" * 64}, "robot digest"),
    "another task": ({"task": "juggle"}, "task"),
    "columns in another order": ({"observation": HONEST.observation[::-1]}, "observation layout"),
    "a column less": ({"observation": HONEST.observation[:-1]}, "observation layout"),
    "two actions": ({"action_size": 2}, "action size"),
    "another rate": ({"control_hz": 100}, "control rate"),
    "no golden vectors": (
        {"golden_obs": b"", "golden_noise": b"", "golden_action": b""},
        "inconsistent sizes",
    ),
    "an observation cut short": ({"golden_obs": HONEST.golden_obs[:-4]}, "inconsistent sizes"),
    "noise for fewer": ({"golden_noise": HONEST.golden_noise[:-4]}, "inconsistent sizes"),
    "actions for more": ({"golden_action": HONEST.golden_action + bytes(4)}, "inconsistent sizes"),
    "golden NaN in": ({"golden_noise": NAN}, "not finite"),
    "golden NaN out": ({"golden_action": NAN}, "not finite"),
}


@pytest.mark.parametrize("case", FALSE_CLAIMS)
def test_a_false_claim_is_refused_by_name(case: str) -> None:
    claims, named = FALSE_CLAIMS[case]
    told = refusal(claiming(**claims))
    assert named in told
    assert "bundle 5" in told


@pytest.mark.parametrize(
    ("claims", "told"),
    [
        ({"robot_digest": "0" * 64}, "bundle 5: robot digest is 000"),
        ({"task": "walk"}, "bundle 5: task is walk, this robot has swing_up"),
        ({"observation": ["x"]}, "bundle 5: observation layout is ['x'], this robot has ["),
        ({"action_size": 2}, "bundle 5: action size is 2, this robot has 1"),
        ({"control_hz": 100}, "bundle 5: control rate is 100, this robot has 50"),
    ],
)
def test_a_refusal_says_what_is_claimed_and_what_is_so(
    claims: dict[str, object], told: str
) -> None:
    assert refusal(claiming(**claims)).startswith(told)


@pytest.mark.parametrize("floor", [5, 6, 2**32])
def test_only_newer_versions_pass(floor: int) -> None:
    assert "not newer" in refusal(HONEST, floor)


def test_a_manifest_survives_the_way_and_equal_ones_are_equal_bytes() -> None:
    data = encode_manifest(HONEST)
    assert decode_manifest(data) == HONEST
    shuffled = json.dumps(dict(reversed(json.loads(data).items()))).encode()
    assert encode_manifest(decode_manifest(shuffled)) == data
    assert [*json.loads(data)] == sorted(json.loads(data))
    scores = {"return": 1.0, "steps": 2.0}
    backwards = dict(reversed(scores.items()))
    assert encode_manifest(claiming(evaluation=scores)) == encode_manifest(
        claiming(evaluation=backwards)
    )


SPOILT = {
    "unknown field": ({"colour": "red"}, "colour"),
    "another schema": ({"schema": 2}, "schema"),
    "version zero": ({"version": 0}, "version"),
    "digest cut short": ({"weights_sha256": "ab"}, "weights_sha256"),
    "exploration beyond one": ({"exploration_scale": 1.5}, "exploration_scale"),
    "no actions": ({"action_size": 0}, "action_size"),
    "vectors that are no base64": ({"golden_obs": "*"}, "golden_obs"),
    "evaluation that is no number": ({"evaluation": {"return": "good"}}, "evaluation"),
}


@pytest.mark.parametrize("case", SPOILT)
def test_a_spoilt_field_is_refused_by_name(case: str) -> None:
    changes, named = SPOILT[case]
    fields = {**json.loads(encode_manifest(HONEST)), **changes}
    with pytest.raises(BundleError, match=named):
        decode_manifest(json.dumps(fields).encode())


@pytest.mark.parametrize("field", Manifest.__struct_fields__[1:])
def test_no_field_but_the_schema_may_be_left_out(field: str) -> None:
    fields = json.loads(encode_manifest(HONEST))
    del fields[field]
    with pytest.raises(BundleError, match=field):
        decode_manifest(json.dumps(fields).encode())


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b"\xff", b"[" * 100_000, b'{"version": NaN}'],
    ids=["nothing", "half", "list", "no text", "nested", "NaN"],
)
def test_what_is_no_manifest_is_refused(data: bytes) -> None:
    with pytest.raises(BundleError, match="manifest refused"):
        decode_manifest(data)


def test_an_oversized_manifest_is_not_even_parsed() -> None:
    data = encode_manifest(HONEST)
    padded = data + b" " * (MANIFEST_MAX_BYTES - len(data))
    assert decode_manifest(padded) == HONEST
    with pytest.raises(BundleError, match="exceeds the cap"):
        decode_manifest(padded + b" ")


def test_the_graph_is_named_by_content_and_the_weights_by_version() -> None:
    newer = claiming(version=6, weights_sha256="0" * 64)
    assert newer.graph_path == HONEST.graph_path
    assert newer.weights_path != HONEST.weights_path
    assert claiming(graph_sha256="0" * 64).graph_path != HONEST.graph_path
