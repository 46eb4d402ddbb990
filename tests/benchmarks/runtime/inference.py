"""Inference of one network by everything that could have been used instead of our policy port."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from functools import partial
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from runtime.engines import in_process
from runtime.network import Weights, answer, make_weights
from runtime.percentiles import Json, percentiles, ratio
from runtime.torch_peer import ENGINES, TorchPeer
from runtime.turns import Turn, alternate, observations, timed_ns

O, A, SEED = 17, 6, 0
ROUNDS, CALLS, WARM_UP = 20, 500, 500
TOLERANCE = 1e-4


def measure(rounds: int = ROUNDS) -> Json:
    """The ``inference`` and ``port_over_bare`` entries of ``runtime.json``.

    Without torch, as on a robot, the others are measured.

    Raises:
        RuntimeError: a contender does not compute the same function.
    """
    weights, pool = make_weights(O, A, SEED), observations(O, SEED)
    ours, theirs = in_process(weights), ENGINES if find_spec("torch") else ()
    with TorchPeer(O, A, SEED) if theirs else nullcontext() as torch:
        answers = {name: np.ravel(infer(pool[0])) for name, infer in ours.items()}
        answers |= {name: np.ravel(torch.answer(name, pool[0])) for name in theirs}
        check(weights, pool[0], answers)
        turns: dict[str, Turn] = {
            name: partial(timed_ns, infer, pool) for name, infer in ours.items()
        }
        turns |= {name: partial(_asked, torch, name) for name in theirs}
        return report(alternate(turns, rounds, CALLS, WARM_UP))


def check(
    weights: Weights, obs: NDArray[np.float32], answers: Mapping[str, NDArray[np.float64]]
) -> None:
    """Raises RuntimeError naming the first contender that answers differently."""
    wanted = answer(weights, obs[None], np.zeros((1, A), np.float32))[0]
    for name, got in answers.items():
        if not np.abs(got - wanted).max() <= TOLERANCE:  # NaN is not
            raise RuntimeError(f"{name} computes another function: {got} instead of {wanted}")


def report(took_ns: Mapping[str, NDArray[np.int64]]) -> Json:
    """Microseconds over all calls; ratios of medians within a round, median over rounds."""
    medians = {name: np.median(each, axis=1).tolist() for name, each in took_ns.items()}
    engines: Json = {
        name: percentiles(each.ravel() * 1e-3, "p50", "p99", "p999")
        for name, each in took_ns.items()
    }
    ratios = {
        "port_over_bare": ratio(medians, "port", "bare_io_binding"),
        "port_over_bare_same_graph": ratio(medians, "port", "bare_io_binding_weights_as_inputs"),
    }
    return {"inference": engines | ratios, "inference_unit": "us", **ratios}


def _asked(torch: TorchPeer, engine: str, calls: int) -> NDArray[np.int64]:
    return np.array(torch.time_ns(engine, calls))
