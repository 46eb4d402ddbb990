"""Does an exported planner keep the contract, and act on the robot as it did in torch?"""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import onnx
import pytest
import safetensors.torch
import torch
from made_learning import JUDGE, LAYOUT, SMALL_MODEL, SMALL_SAC, A, O, linear_transitions
from made_records import SPEC
from torch import Tensor

from offboard.architecture import ActorArchitecture, Architecture
from offboard.export import Bundle, Exporter, Origin
from offboard.planner_policy import PlannerArchitecture, SearchConfig
from offboard.sac import Sac
from offboard.world_model import WorldModel
from onboard.backends import onnx_runtime, reference
from onboard.control_api import Offer
from onboard.graph_check import check_graph
from onboard.hotswap import HotSwap
from onboard.weights_check import check_weights
from protocol.bundle import (
    GOLDEN_TOLERANCE,
    GRAPH_MAX_BYTES,
    MANIFEST_MAX_BYTES,
    OPERATORS,
    encode_manifest,
)

pytestmark = pytest.mark.usefixtures("eager")

SAC = Sac(O, A, 0.98, SMALL_SAC)
MODEL = WorldModel(LAYOUT, JUDGE, SMALL_MODEL)
DATA = linear_transitions(400, seed=0)
SEARCH = SearchConfig(horizon=2, pairs=2)


class Policy(NamedTuple):
    """A policy of some architecture: its parameters and its bundle."""

    architecture: Architecture
    parameters: Tensor
    bundle: Bundle

    def act(self, obs: Tensor) -> Tensor:
        named = self.architecture.space.view(self.parameters)
        return self.architecture.act(named, obs, torch.zeros(obs.shape[0], A))


def planner(search: SearchConfig = SEARCH) -> PlannerArchitecture:
    return PlannerArchitecture(MODEL, SAC, 0.98, search)


def parameters(architecture: Architecture, seed: int) -> Tensor:
    """A policy that was never trained, but decides boldly."""
    model = MODEL.initial(DATA, seed)
    sac = SAC.initial(seed)
    return architecture.parameters(sac._replace(actor=3.0 * sac.actor), model)


class Press:
    """Exporters made once; versions count up."""

    def __init__(self) -> None:
        self.exporters: dict[str, tuple[Architecture, Exporter]] = {}
        for name, architecture in (
            ("actor", ActorArchitecture(SAC.actor_space)), ("planner", planner())
        ):  # fmt: skip
            exporter = Exporter(SPEC, "swing_up", architecture)
            self.exporters[name] = architecture, exporter
        self._versions = itertools.count(1)

    def policy(self, kind: str, seed: int) -> Policy:
        architecture, exporter = self.exporters[kind]
        flat, version = parameters(architecture, seed), next(self._versions)
        origin = Origin(version, version - 1, "serve", "abc", exploration_scale=0.0, evaluation={})
        return Policy(architecture, flat, exporter.bundle(flat, DATA.obs, origin))


@pytest.fixture(scope="module")
def press(eager: None) -> Press:
    return Press()


@pytest.fixture(scope="module")
def bundle(press: Press) -> Bundle:
    return press.policy("planner", seed=0).bundle


def test_the_robot_accepts_graph_and_weights(bundle: Bundle) -> None:
    tensors = check_weights(bundle.weights, check_graph(bundle.graph, LAYOUT))
    named = planner().space.view(parameters(planner(), seed=0))
    assert {"actor.head.weight", "critic.head.weight", "model.in_mean", "search.pushes"} <= set(
        tensors
    )
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(tensor, named[name].numpy())


def test_what_only_training_needs_stays_at_home(bundle: Bundle) -> None:
    left_out = planner().space.shapes.keys() - check_graph(bundle.graph, LAYOUT).keys()
    assert {"model.log_var.weight", "model.max_log_var", "model.reward_range"} <= left_out
    assert not any(name.startswith(("actor", "critic", "search")) for name in left_out)


def test_the_graph_is_unrolled_from_allowed_operators(bundle: Bundle) -> None:
    graph = onnx.load_from_string(bundle.graph).graph
    assert {node.op_type for node in graph.node} <= OPERATORS
    assert sum(node.op_type == "Sigmoid" for node in graph.node) == 2 * SEARCH.horizon


def test_no_weight_is_baked_into_the_graph(bundle: Bundle) -> None:
    constants = onnx.load_from_string(bundle.graph).graph.initializer
    assert all(np.prod(tensor.dims) <= O * O for tensor in constants)


def test_everything_fits_the_robots_caps(bundle: Bundle) -> None:
    assert len(bundle.graph) < GRAPH_MAX_BYTES
    assert len(encode_manifest(bundle.manifest)) < MANIFEST_MAX_BYTES


def test_the_graph_does_not_tell_where_it_was_made(bundle: Bundle) -> None:
    for trace in (str(Path(__file__).parents[3]).encode(), b".py", b"offboard", b"torch.nn"):
        assert trace not in bundle.graph, trace


def test_another_search_is_a_new_weight_file_and_a_deeper_one_a_new_graph(bundle: Bundle) -> None:
    for search, same in (
        (replace(SEARCH, penalty=3.0, temperature=0.1, reach=0.2, seed=5), True),
        (replace(SEARCH, horizon=1), False),
    ):
        assert (Exporter(SPEC, "swing_up", planner(search)).graph == bundle.graph) is same


def test_a_model_that_learns_its_reward_has_a_residual_and_doubts_in_total_is_exported_too() -> (
    None
):
    model = WorldModel(LAYOUT, None, replace(SMALL_MODEL, residual=8, uncertainty="total"))
    architecture = PlannerArchitecture(model, SAC, 0.98, SEARCH)
    exporter = Exporter(SPEC, "swing_up", architecture)
    policy = architecture.parameters(SAC.initial(0), model.initial(DATA, 0))
    origin = Origin(1, 0, "serve", "abc", exploration_scale=0.0, evaluation={})
    made = exporter.bundle(policy, DATA.obs, origin)
    tensors = check_weights(made.weights, check_graph(made.graph, LAYOUT))
    assert {"model.end.weight", "model.residual.0.weight", "model.log_var.weight"} <= set(tensors)


def stage(swap: HotSwap, parent: Path, bundle: Bundle) -> str:
    """Offer, stage and flip; the outcome and its reason."""
    version = bundle.manifest.version
    folder = parent / str(version)
    folder.mkdir(exist_ok=True)
    (folder / "manifest.json").write_bytes(encode_manifest(bundle.manifest))
    (folder / "graph.onnx").write_bytes(bundle.graph)
    (folder / "weights.safetensors").write_bytes(bundle.weights)
    swap.stage(Offer(version=version, directory=str(folder)))
    swap.flip()
    return f"{swap.events[-1].outcome}: {swap.events[-1].reason}"


BACKENDS = {"onnx_runtime": onnx_runtime.build, "numpy": reference.build}


@pytest.mark.parametrize("backend", BACKENDS)
def test_actors_and_planners_take_turns_on_the_robot(backend, press, tmp_path) -> None:
    """Another graph, another set of weights of it, and back: each acts as it did in torch."""
    swap = HotSwap(SPEC, "swing_up", clock_ns=lambda: 0, build=BACKENDS[backend])
    acted = []
    for kind, seed in (("actor", 1), ("planner", 1), ("planner", 2), ("actor", 2)):
        policy = press.policy(kind, seed)
        assert stage(swap, tmp_path, policy.bundle).startswith(("activated", "committed"))
        assert swap.active_version == policy.bundle.manifest.version
        obs = DATA.obs[:20]
        done = np.stack([swap.active.infer(each.numpy()).copy() for each in obs])
        np.testing.assert_allclose(done, policy.act(obs).numpy(), atol=GOLDEN_TOLERANCE)
        acted.append(done)
    differ = [float(np.abs(a - b).max()) for a, b in itertools.combinations(acted, 2)]
    assert min(differ) > 0.01


def test_a_planner_does_not_act_like_its_actor(press: Press) -> None:
    search, alone = press.policy("planner", seed=1), press.policy("actor", seed=1)
    assert float((search.act(DATA.obs) - alone.act(DATA.obs)).abs().max()) > 0.01


def test_weights_of_another_planner_fail_the_golden_vectors(press: Press, tmp_path: Path) -> None:
    swap = HotSwap(SPEC, "swing_up", clock_ns=lambda: 0)
    honest, other = (press.policy("planner", seed).bundle for seed in (3, 4))
    claim = msgspec.structs.replace(honest.manifest, weights_sha256=other.manifest.weights_sha256)
    mixed = replace(honest, weights=other.weights, manifest=claim)
    assert "golden vector" in stage(swap, tmp_path, mixed)
    assert swap.active is None


def test_an_observation_that_is_no_number_is_answered_by_none(press: Press) -> None:
    """The graph hides nothing: the pilot's guard sees the NaN."""
    policy = press.policy("planner", seed=0)
    engine = onnx_runtime.build(policy.bundle.graph)
    weights = safetensors.torch.load(policy.bundle.weights)
    runner = engine.stage({name: tensor.numpy() for name, tensor in weights.items()})
    runner.obs[:] = np.nan
    runner.run()
    assert np.isnan(runner.action).all()
