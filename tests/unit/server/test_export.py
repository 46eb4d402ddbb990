"""Is an exported policy the actor it was, inside the contract, and free of where it was made?"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import safetensors.numpy
import torch
from made_learning import A, O, linear_transitions
from made_records import SPEC

from offboard.architecture import ActorArchitecture
from offboard.export import GOLDEN_SAMPLES, PARITY_ATOL, PARITY_RTOL, Bundle, Exporter, Origin
from offboard.networks import act, actor_space
from protocol.bundle import (
    GOLDEN_TOLERANCE,
    GRAPH_MAX_BYTES,
    MANIFEST_MAX_BYTES,
    OPERATORS,
    WEIGHTS_MAX_BYTES,
    check_manifest,
    encode_manifest,
)
from protocol.errors import BundleError

SPACE = actor_space(O, A, width=16)
ARCHITECTURE = ActorArchitecture(SPACE)
LEARNED = 3.0 * SPACE.initial(torch.Generator().manual_seed(0))
ACTOR = torch.cat([LEARNED, torch.zeros(O), torch.ones(O)])
SEEN = linear_transitions(400, seed=0).obs
ORIGIN = Origin(7, 6, run="serve", commit="abc", exploration_scale=0.5, evaluation={"r": 1.0})


@pytest.fixture(scope="module")
def exporter() -> Exporter:
    return Exporter(SPEC, "swing_up", ARCHITECTURE)


@pytest.fixture(scope="module")
def bundle(exporter: Exporter) -> Bundle:
    return exporter.bundle(ACTOR, SEEN, ORIGIN)


@pytest.fixture(scope="module")
def graph(exporter: Exporter) -> onnx.ModelProto:
    return onnx.load_from_string(exporter.graph)


def run(bundle: Bundle, obs: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """The policy in ONNX Runtime, from the bundle's bytes alone."""
    session = ort.InferenceSession(bundle.graph, providers=["CPUExecutionProvider"])
    weights = safetensors.numpy.load(bundle.weights)
    rows = zip(obs, noise, strict=True)
    return np.concatenate(
        [session.run(["action"], {"obs": o[None], "noise": n[None], **weights})[0] for o, n in rows]
    )


def test_the_graph_acts_as_the_actor_did(bundle: Bundle) -> None:
    obs = SEEN[:50]
    noise = torch.randn(50, A, generator=torch.Generator().manual_seed(3))
    wanted = act(SPACE.view(LEARNED), obs, noise)
    assert float(wanted.std()) > 0.3
    np.testing.assert_allclose(run(bundle, obs.numpy(), noise.numpy()), wanted.numpy(), atol=1e-5)


def test_the_golden_vectors_are_true_and_worth_checking(bundle: Bundle) -> None:
    golden = check_manifest(bundle.manifest, SPEC, "swing_up", floor=6)
    assert golden.obs.shape == (GOLDEN_SAMPLES, O)
    got = run(bundle, golden.obs, golden.noise)
    np.testing.assert_allclose(got, golden.action, atol=GOLDEN_TOLERANCE)
    assert np.unique(golden.action).size == GOLDEN_SAMPLES
    assert golden.noise.any()


def test_the_normaliser_stands_before_the_actor(bundle: Bundle) -> None:
    weights = safetensors.numpy.load(bundle.weights)
    rng = np.random.default_rng(0)
    weights["obs_mean"] = rng.normal(size=(1, O)).astype(np.float32)
    weights["obs_std"] = rng.uniform(0.5, 2.0, (1, O)).astype(np.float32)
    other = replace(bundle, weights=safetensors.numpy.save(weights))
    noise = np.zeros((20, A), dtype=np.float32)
    normal = (SEEN[:20].numpy() - weights["obs_mean"]) / weights["obs_std"]
    wanted = run(bundle, normal, noise)
    np.testing.assert_allclose(run(other, SEEN[:20].numpy(), noise), wanted, atol=1e-5)


def test_what_passes_here_passes_on_the_robot() -> None:
    assert PARITY_ATOL + PARITY_RTOL <= GOLDEN_TOLERANCE + 1e-12


def test_the_manifest_names_the_bytes_and_their_origin(bundle: Bundle) -> None:
    manifest = bundle.manifest
    assert manifest.graph_sha256 == hashlib.sha256(bundle.graph).hexdigest()
    assert manifest.weights_sha256 == hashlib.sha256(bundle.weights).hexdigest()
    assert (manifest.version, manifest.parent_version) == (7, 6)
    assert (manifest.run, manifest.commit) == ("serve", "abc")
    assert (manifest.exploration_scale, manifest.evaluation) == (0.5, {"r": 1.0})


def test_everything_fits_the_robots_caps(bundle: Bundle) -> None:
    assert len(bundle.graph) < GRAPH_MAX_BYTES
    assert len(bundle.weights) < WEIGHTS_MAX_BYTES
    assert len(encode_manifest(bundle.manifest)) < MANIFEST_MAX_BYTES


def shapes(values) -> dict[str, tuple[int, ...]]:
    return {
        value.name: tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
        for value in values
    }


def test_inputs_are_observation_noise_and_every_weight_with_the_normaliser(graph, bundle) -> None:
    normaliser = {"obs_mean": (1, O), "obs_std": (1, O)}
    wanted = {"obs": (1, O), "noise": (1, A), **SPACE.shapes, **normaliser}
    assert shapes(graph.graph.input) == wanted
    assert shapes(graph.graph.output) == {"action": (1, A)}
    weights = safetensors.numpy.load(bundle.weights)
    assert {name: tensor.shape for name, tensor in weights.items()} == {
        name: shape for name, shape in wanted.items() if name not in ("obs", "noise")
    }


def test_all_is_float32_and_static(graph: onnx.ModelProto, bundle: Bundle) -> None:
    for value in (*graph.graph.input, *graph.graph.output):
        assert value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
        assert all(dim.dim_value > 0 for dim in value.type.tensor_type.shape.dim)
    assert all(t.dtype == np.float32 for t in safetensors.numpy.load(bundle.weights).values())


def test_the_graph_uses_allowed_operators_of_opset_18_only(graph: onnx.ModelProto) -> None:
    assert {node.op_type for node in graph.graph.node} <= OPERATORS
    assert {(opset.domain, opset.version) for opset in graph.opset_import} == {("", 18)}
    assert not graph.functions


def test_no_weight_is_baked_into_the_graph(graph: onnx.ModelProto) -> None:
    assert all(np.prod(tensor.dims) <= O for tensor in graph.graph.initializer)
    assert all(not tensor.external_data for tensor in graph.graph.initializer)


def test_the_graph_does_not_tell_where_it_was_made(exporter: Exporter) -> None:
    here = str(Path(__file__).parents[3]).encode()
    for trace in (here, b".py", b"site-packages", b"Traceback", b"offboard", b"torch.nn"):
        assert trace not in exporter.graph, trace


def test_the_same_architecture_gives_the_same_bytes(exporter: Exporter) -> None:
    assert Exporter(SPEC, "swing_up", ActorArchitecture(SPACE)).graph == exporter.graph


def test_a_fine_tuned_actor_is_a_new_weight_file_only(exporter: Exporter, bundle: Bundle) -> None:
    tuned = exporter.bundle(ACTOR + 0.01, SEEN, ORIGIN)
    assert tuned.graph == bundle.graph
    assert tuned.weights != bundle.weights


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_an_actor_with_a_number_that_is_none_is_refused(exporter: Exporter, bad: float) -> None:
    actor = ACTOR.clone()
    actor[3] = bad
    with pytest.raises(BundleError, match="version 7: weights are not finite"):
        exporter.bundle(actor, SEEN, ORIGIN)


class Liar:
    """An inference session whose answers are off by ``error``; it remembers what it was asked."""

    def __init__(self, session, error: float) -> None:
        self._session, self._error = session, error
        self.asked: list[np.ndarray] = []

    def run(self, outputs, feed):
        self.asked.append(feed["obs"])
        return [output + self._error for output in self._session.run(outputs, feed)]


def test_parity_is_proved_far_outside_what_was_seen_too(exporter, monkeypatch) -> None:
    witness = Liar(exporter._session, error=0.0)
    monkeypatch.setattr(exporter, "_session", witness)
    exporter.bundle(ACTOR, SEEN, ORIGIN)
    largest = [float(np.abs(obs).max()) for obs in witness.asked]
    assert len(largest) >= 256
    assert max(largest) > 3.0 * float(SEEN.abs().max())
    assert sum(size <= float(SEEN.abs().max()) for size in largest) >= 100


@pytest.mark.parametrize("error", [2e-4, -2e-4, float("nan")])
def test_a_graph_that_disagrees_with_torch_is_refused(exporter, monkeypatch, error: float) -> None:
    monkeypatch.setattr(exporter, "_session", Liar(exporter._session, error))
    with pytest.raises(BundleError, match="differs from torch"):
        exporter.bundle(ACTOR, SEEN, ORIGIN)


def test_an_operator_outside_the_contract_is_refused(monkeypatch) -> None:
    monkeypatch.setattr("offboard.export.OPERATORS", OPERATORS - {"Tanh"})
    with pytest.raises(BundleError, match="Tanh"):
        Exporter(SPEC, "swing_up", ARCHITECTURE)
