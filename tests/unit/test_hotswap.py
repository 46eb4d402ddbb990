"""Does only a sound, newer bundle ever drive, and does every failure change nothing?"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from onboard.control_api import BUSY, Done, Offer
from onboard.hotswap import HotSwap
from onboard.ledger import Ledger
from onboard.noise import Noise
from onboard.probation import KNOWN_EPISODES, PROBATION_EPISODES, Verdict
from protocol.observation import Layout
from protocol.robot_spec import RobotSpec
from protocol.step_record import Flag

Make = Callable[..., Path]

USUAL = Verdict(score=100.0, steps=250)


def offered(swap: HotSwap, version: int, folder: Path) -> str:
    """Offer and stage in one thread; the last event's outcome and reason."""
    done = swap.offer(Offer(version=version, directory=str(folder)))
    if not done.ok or done.detail != "staging":
        return done.detail
    offer = swap._offers.get()
    assert offer is not None
    swap.stage(offer)
    swap.flip()
    last = swap.events[-1]
    return f"{last.outcome}: {last.reason}"


@pytest.fixture
def swap(furuta: RobotSpec, make_bundle: Make) -> HotSwap:
    """Version 5 is active and committed."""
    swap = HotSwap(furuta, "swing_up")
    assert offered(swap, 5, make_bundle(5)) == "committed: first policy"
    return swap


def act(swap: HotSwap) -> float:
    assert swap.active is not None
    return float(swap.active.infer(np.full(7, 0.3, dtype=np.float32))[0])


def rewrite(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        file = folder / name
        file.write_bytes(change(file.read_bytes()))

    return spoil


def nothing(folder: Path) -> None:
    pass


def nan_weights(make: Make) -> Path:
    import hashlib

    w = np.full((7, 1), np.nan, dtype=np.float32)
    data = safetensors.numpy.save({"w": w, "b": np.zeros(1, dtype=np.float32)})
    folder = make(6, weights_sha256=hashlib.sha256(data).hexdigest())
    (folder / "weights.safetensors").write_bytes(data)
    return folder


def unknown_operator(make: Make, layout: Layout) -> Path:
    from onnx import TensorProto, helper

    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("obs", (1, layout.size)), ("noise", (1, 1)), ("action", (1, 1)))
    ]
    node = helper.make_node("ReduceMax", ["obs"], ["action"])
    graph = helper.make_graph([node], "bad", values[:2], values[2:])
    opset = [helper.make_opsetid("", 18)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=10)
    return make(6, graph=model.SerializeToString())


FAILURES: dict[str, tuple[Callable[[Make, Layout], Path], Callable[[Path], None], str]] = {
    "another robot": (
        lambda make, _: make(6, robot_digest="0" * 64),
        nothing,
        "robot digest",
    ),
    "another task": (lambda make, _: make(6, task="walk"), nothing, "task is walk"),
    "another observation": (
        lambda make, _: make(6, observation=["x"]),
        nothing,
        "observation layout",
    ),
    "another rate": (lambda make, _: make(6, control_hz=100), nothing, "control rate"),
    "an older version": (lambda make, _: make(4), nothing, "not newer than version 5"),
    "another version inside": (lambda make, _: make(7), nothing, "was offered as"),
    "NaN weights": (lambda make, _: nan_weights(make), nothing, "weight w is not finite"),
    "wrong golden output": (
        lambda make, _: make(6, golden_action=np.full(3, 0.9, np.float32).tobytes()),
        nothing,
        "golden vector 0 is off",
    ),
    "golden not finite": (
        lambda make, _: make(6, golden_obs=np.full(21, np.nan, np.float32).tobytes()),
        nothing,
        "golden vectors are not finite",
    ),
    "unknown operator": (unknown_operator, nothing, "operator ReduceMax is not allowed"),
    "truncated weights": (
        lambda make, _: make(6),
        rewrite("weights.safetensors", lambda data: data[:-5]),
        "weights.safetensors is not the file of the manifest",
    ),
    "altered graph": (
        lambda make, _: make(6),
        rewrite("graph.onnx", lambda data: data.replace(b"Tanh", b"Relu")),
        "graph.onnx is not the file of the manifest",
    ),
    "truncated manifest": (
        lambda make, _: make(6),
        rewrite("manifest.json", lambda data: data[:-5]),
        "manifest refused",
    ),
    "oversized manifest": (
        lambda make, _: make(6),
        rewrite("manifest.json", lambda data: data + b" " * (1 << 18)),
        "exceeds the cap",
    ),
    "missing file": (
        lambda make, _: make(6),
        lambda folder: (folder / "graph.onnx").unlink(),
        "cannot be read",
    ),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_bad_candidate_is_rejected_and_changes_nothing(
    name: str, swap: HotSwap, make_bundle: Make, furuta: RobotSpec
) -> None:
    build, spoil, reason = FAILURES[name]
    folder = build(make_bundle, Layout(furuta))
    spoil(folder)
    slot, action = swap.active, act(swap)
    version = 4 if name == "an older version" else 6
    outcome = offered(swap, version, folder)
    assert outcome.startswith("rejected: ")
    assert reason in outcome
    assert swap.active is slot
    assert act(swap) == action
    assert swap.counts["rejected"] == 1
    assert offered(swap, 8, make_bundle(8)).startswith("activated")  # and the next one may come


def test_a_second_offer_waits_its_turn(swap: HotSwap, make_bundle: Make) -> None:
    assert swap.offer(Offer(version=6, directory=str(make_bundle(6)))).ok
    again = swap.offer(Offer(version=7, directory=str(make_bundle(7))))
    assert (again.ok, again.detail) == (False, f"{BUSY}: a candidate is in staging")
    offer = swap._offers.get()
    assert offer is not None
    swap.stage(offer)
    assert BUSY in swap.offer(Offer(version=7, directory="x")).detail
    assert swap.active_version == 5  # pending is not active
    assert swap.flip()
    assert not swap.flip()
    assert swap.active_version == 6


def test_the_active_version_is_not_staged_again(swap: HotSwap, make_bundle: Make) -> None:
    assert offered(swap, 5, make_bundle(5)) == "already active"
    assert swap.counts["activated"] == 1


def test_probation_ends_after_enough_episodes(swap: HotSwap, make_bundle: Make) -> None:
    offered(swap, 6, make_bundle(6))
    for _ in range(PROBATION_EPISODES):
        assert swap.counts["committed"] == 1
        swap.episode_completed(USUAL)
    assert swap.counts["committed"] == 2
    swap.episode_completed(USUAL)
    assert [event.number for event in swap.events] == [1, 2, 3, 4]


def test_a_bad_policy_gives_way_to_the_previous_one(swap: HotSwap, make_bundle: Make) -> None:
    before = act(swap)
    offered(swap, 6, make_bundle(6))
    assert act(swap) != before
    assert swap.roll_back("NaN")
    assert (swap.active_version, act(swap)) == (5, before)
    assert swap.events[-1].outcome == "rolled_back"
    assert swap.events[-1].reason == "NaN"
    assert "not newer than version 6" in offered(swap, 6, make_bundle(6))
    assert not swap.roll_back("NaN")  # nothing is left
    assert swap.active is None
    assert offered(swap, 7, make_bundle(7)) == "committed: first policy"


def test_a_newer_policy_may_take_over_from_one_on_probation(
    swap: HotSwap, make_bundle: Make
) -> None:
    before = act(swap)
    offered(swap, 6, make_bundle(6))
    offered(swap, 7, make_bundle(7))
    assert swap.active_version == 7
    assert swap.counts["committed"] == 1
    assert swap.roll_back("NaN")
    assert (swap.active_version, act(swap)) == (5, before)  # the last committed one


def test_taking_over_starts_probation_anew(swap: HotSwap, make_bundle: Make) -> None:
    offered(swap, 6, make_bundle(6))
    swap.episode_completed(USUAL)
    offered(swap, 7, make_bundle(7))
    for _ in range(PROBATION_EPISODES):
        assert swap.counts["committed"] == 1
        swap.episode_completed(USUAL)
    assert swap.counts["committed"] == 2


def known(swap: HotSwap) -> None:
    """The committed policy has shown what it can."""
    for _ in range(KNOWN_EPISODES):
        swap.episode_completed(USUAL)


def test_a_policy_that_loses_the_bus_is_rolled_back_after_its_probation(
    swap: HotSwap, make_bundle: Make
) -> None:
    known(swap)
    offered(swap, 6, make_bundle(6))
    for _ in range(PROBATION_EPISODES):
        assert swap.active_version == 6
        swap.episode_completed(USUAL._replace(bus_misses=50))
    assert swap.active_version == 5
    assert swap.events[-1].outcome == "rolled_back"
    assert swap.events[-1].reason == (
        "probation: 0.200 bus misses per step, more than 0.1 above the committed 0.000"
    )


def test_a_far_worse_policy_is_rolled_back_after_its_probation(
    swap: HotSwap, make_bundle: Make
) -> None:
    known(swap)
    offered(swap, 6, make_bundle(6))
    for _ in range(PROBATION_EPISODES):
        assert swap.active_version == 6
        swap.episode_completed(Verdict(score=10.0, steps=40))
    assert swap.active_version == 5
    assert swap.events[-1].outcome == "rolled_back"
    assert "mean return 10.0" in swap.events[-1].reason
    offered(swap, 7, make_bundle(7))  # what was known of 5 is known still
    for _ in range(PROBATION_EPISODES):
        swap.episode_completed(Verdict(score=10.0, steps=40))
    assert swap.active_version == 5


def test_episodes_that_motors_or_bus_end_drop_a_policy_and_commit_none(
    swap: HotSwap, make_bundle: Make
) -> None:
    offered(swap, 6, make_bundle(6))
    swap.episode_aborted(USUAL)
    swap.episode_completed(USUAL)
    assert (swap.active_version, swap.events[-1].outcome) == (6, "activated")
    swap.episode_completed(USUAL)
    assert swap.events[-1].outcome == "committed"
    for _ in range(9):
        swap.episode_aborted(USUAL)  # a committed policy is not on probation
    assert swap.active_version == 6
    offered(swap, 7, make_bundle(7))
    swap.episode_aborted(USUAL)
    assert swap.active_version == 7
    swap.episode_aborted(USUAL)
    assert swap.active_version == 7  # 6 did no better


def test_what_was_rolled_back_is_not_taken_again_even_after_a_restart(
    swap: HotSwap, furuta: RobotSpec, make_bundle: Make
) -> None:
    offered(swap, 6, make_bundle(6))
    for _ in range(PROBATION_EPISODES):
        swap.episode_aborted(USUAL)
    assert swap.active_version == 5
    assert swap.events[-1].reason.startswith("probation: 2 of 2 episodes were ended by motors")
    swap.ledger.settle()
    again = HotSwap(furuta, "swing_up", ledger=Ledger(swap.ledger.record))
    refused = again.offer(Offer(version=6, directory="/6"))
    assert refused == Done(ok=False, detail="policy 6 was rolled back here; pin forces")
    assert again.offer(Offer(version=7, directory="/7")).ok


def test_every_candidate_is_judged_by_its_own_episodes(swap: HotSwap, make_bundle: Make) -> None:
    known(swap)
    offered(swap, 6, make_bundle(6))
    swap.episode_completed(Verdict(score=0.0, steps=250))
    offered(swap, 7, make_bundle(7))
    for _ in range(PROBATION_EPISODES):
        swap.episode_completed(Verdict(score=45.0, steps=250))
    assert swap.events[-1].outcome == "committed"
    offered(swap, 8, make_bundle(8))  # 7 is what it is compared with
    for _ in range(PROBATION_EPISODES):
        swap.episode_completed(Verdict(score=20.0, steps=250))
    assert swap.events[-1].outcome == "committed"


def test_trouble_drops_a_policy_on_probation_and_no_other(swap: HotSwap, make_bundle: Make) -> None:
    assert not swap.fail_probation("late")
    offered(swap, 6, make_bundle(6))
    assert swap.fail_probation("5 late ticks in a row")
    assert swap.active_version == 5
    assert swap.events[-1].reason == "on probation: 5 late ticks in a row"
    assert not swap.fail_probation("late")
    assert swap.active_version == 5


def test_a_policy_that_thinks_too_long_is_rejected(furuta: RobotSpec, make_bundle: Make) -> None:
    """A clock on which every answer takes 11 ms of a tick of 20 ms."""
    ticking = itertools.count(step=11_000_000)
    swap = HotSwap(furuta, "swing_up", lambda: next(ticking))
    swap.stage(Offer(version=1, directory=str(make_bundle(1))))
    assert not swap.flip()
    assert swap.events[-1].reason == (
        "bundle 1 takes 11.0 ms to answer; a tick of 20.0 ms leaves it 10.0 ms"
    )


def test_a_stager_survives_what_nobody_foresaw(
    swap: HotSwap, make_bundle: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(*_: object) -> None:
        raise ValueError("unforeseen")

    with monkeypatch.context() as patch:
        patch.setattr("onboard.staging.check_graph", explode)
        outcome = offered(swap, 6, make_bundle(6))
    assert outcome == "rejected: cannot be staged: ValueError: unforeseen"
    assert offered(swap, 7, make_bundle(7)).startswith("activated")


def test_a_committed_policy_can_still_be_rolled_back(swap: HotSwap, make_bundle: Make) -> None:
    offered(swap, 6, make_bundle(6))
    for _ in range(PROBATION_EPISODES):
        swap.episode_completed(USUAL)
    assert swap.roll_back("NaN")
    assert swap.active_version == 5


def test_two_architectures_can_hold_the_two_slots(
    swap: HotSwap, make_bundle: Make, furuta: RobotSpec
) -> None:
    """The other graph is the same function under another name, so its golden vectors hold."""
    from onnx import ModelProto

    model = ModelProto.FromString((make_bundle(6) / "graph.onnx").read_bytes())
    model.graph.name = "another"
    before = act(swap)
    assert "activated" in offered(swap, 6, make_bundle(6, graph=model.SerializeToString()))
    assert swap.roll_back("test")
    assert act(swap) == before


def test_staging_runs_in_its_own_thread_until_closed(furuta: RobotSpec, make_bundle: Make) -> None:
    swap = HotSwap(furuta, "swing_up")
    thread = threading.Thread(target=swap.stage_forever)
    thread.start()
    swap.offer(Offer(version=1, directory=str(make_bundle(1))))
    swap.close()
    thread.join(10)
    assert not thread.is_alive()
    assert swap.flip()


def test_without_any_policy_the_pilot_has_no_answer(furuta: RobotSpec) -> None:
    from onboard.pilot import Pilot

    pilot = Pilot(furuta, HotSwap(furuta, "swing_up"), Noise(0))
    assert pilot.ask(np.zeros(7, dtype=np.float32)) is None


def test_a_policy_that_raises_is_one_that_gives_no_answer(
    swap: HotSwap, furuta: RobotSpec, make_bundle: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    from onboard.pilot import Pilot

    def lost(obs: object) -> None:
        raise RuntimeError("the launch failed")

    offered(swap, 6, make_bundle(6))
    assert swap.active is not None
    monkeypatch.setattr(swap.active, "infer", lost)
    pilot, obs = Pilot(furuta, swap, Noise(0)), np.zeros(7, dtype=np.float32)
    for _ in range(furuta.safety.bad_policy_ticks_to_hold):
        assert swap.active_version == 6
        command = pilot.ask(obs)
        assert command is not None
        assert command.tolist() == [0.0]
        assert pilot.flags & Flag.BAD_POLICY
    assert swap.active_version == 5
    assert swap.events[-1].reason.endswith("in a row: RuntimeError: the launch failed")
