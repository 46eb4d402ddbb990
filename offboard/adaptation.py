"""Three ways to adapt the ensemble to target data, and the choice between them.

None is best everywhere (LEARNING.md § 6 D). On the Furuta rig a residual on the frozen source model
had half the error of the whole network after 250 transitions, in three runs of three, and lost to
it from 750 on; the last layers alone lost throughout. So candidates can be kept side by side, and
the target decides: each predicts the newest data before it learns from them. A lower error did not
make a better policy there (docs/results/transfer.md), so the whole network is the default.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from offboard.device import moved
from offboard.model_state import ModelState
from offboard.replay import Batch
from offboard.run_dir import entry, pack, unpack
from offboard.world_model import WorldModel
from protocol.errors import ConfigError

Adapt = Callable[[WorldModel, ModelState, Batch, int, torch.Generator], ModelState]
"""Model, its state, target data, gradient steps, generator → the adapted state."""


def adapt_whole(
    model: WorldModel, state: ModelState, data: Batch, steps: int, generator: torch.Generator
) -> ModelState:
    """Every weight moves, except a residual's."""
    return _adapt(model, state, data, steps, generator, lambda name: "residual" not in name)


def adapt_last_layers(
    model: WorldModel, state: ModelState, data: Batch, steps: int, generator: torch.Generator
) -> ModelState:
    """The heads move; the features they read stay the source's."""
    return _adapt(model, state, data, steps, generator, _is_head)


def adapt_residual(
    model: WorldModel, state: ModelState, data: Batch, steps: int, generator: torch.Generator
) -> ModelState:
    """A small network learns what must be added to the frozen source model.

    Raises:
        ConfigError: the model has no residual network.
    """
    if model.config.residual == 0:
        raise ConfigError("this model has no residual network; give it --model.residual above 0")
    return _adapt(model, state, data, steps, generator, lambda name: "residual" in name)


LIVES = 2
WAYS: dict[str, Adapt] = {
    "whole": adapt_whole,
    "last_layers": adapt_last_layers,
    "residual": adapt_residual,
}


def ways(model: WorldModel) -> dict[str, Adapt]:
    """The ways open to ``model``, by name."""
    found = dict(WAYS)
    if model.config.residual == 0:
        del found["residual"]
    return found


def rank(model: WorldModel, candidates: Mapping[str, ModelState], newest: Batch) -> list[str]:
    """Names of candidates by their error on ``newest``, which none has learned from; best first."""
    errors = {name: model.nmse(state, newest) for name, state in candidates.items()}
    return sorted(errors, key=lambda name: (math.isnan(errors[name]), errors[name]))


def adapt_each(
    model: WorldModel,
    candidates: Mapping[str, ModelState],
    data: Batch,
    steps: int,
    generator: torch.Generator,
) -> dict[str, ModelState]:
    """Every candidate, named after its way of adapting, taken further in that way."""
    open_ways = ways(model)
    return {
        name: open_ways[name](model, state, data, steps, generator)
        for name, state in candidates.items()
    }


class Adaptation(NamedTuple):
    """The candidates by way, the way believed at present, and who lost how often in a row."""

    candidates: dict[str, ModelState]
    way: str
    losses: dict[str, int]

    @property
    def state(self) -> ModelState:
        """The ensemble to predict with."""
        return self.candidates[self.way]

    def tensors(self) -> dict[str, Tensor]:
        """Checkpoint entries: the way believed, each candidate, and its losses."""
        entries = {"model.way": torch.tensor(list(WAYS).index(self.way))}
        for name, state in self.candidates.items():
            entries[f"model.{name}.losses"] = torch.tensor(self.losses[name])
            entries.update(pack(f"model.{name}", state))
        return entries


def unadapted(model: WorldModel, source: ModelState, names: Sequence[str]) -> Adaptation:
    """The ways called ``names``, none of them gone yet; the first is believed until one is judged.

    Raises:
        ConfigError: there is no such way, or it is not open to ``model``.
    """
    if not names or not set(names) <= ways(model).keys():
        raise ConfigError(f"ways to adapt {list(names)}: choose from {sorted(ways(model))}")
    return Adaptation(dict.fromkeys(names, source), names[0], dict.fromkeys(names, 0))


def resumed(model: WorldModel, tensors: dict[str, Tensor]) -> Adaptation:
    """The inverse of :meth:`Adaptation.tensors`. Raises StoreError naming what is missing."""
    way = list(WAYS)[int(entry(tensors, "model.way"))]
    kept = [name for name in ways(model) if name == way or f"model.{name}.losses" in tensors]
    return Adaptation(
        {name: moved(unpack(f"model.{name}", ModelState, tensors), model.device) for name in kept},
        way,
        {name: int(entry(tensors, f"model.{name}.losses")) for name in kept},
    )


def adapt_further(
    model: WorldModel,
    known: Adaptation,
    data: Batch,
    newest: int,
    steps: int,
    generator: torch.Generator,
) -> Adaptation:
    """Believe the way with the least error on what is new, then let the candidates learn it.

    One that lost :data:`LIVES` times in a row is given up, so that in the end one fit is paid for.

    Args:
        model: the ensemble's functions.
        known: candidates that have not learned from the last ``newest`` of ``data``.
        data: all target transitions held, oldest first, at least two.
        newest: how many of them are new; if all are, rivals fitted to the first four fifths are
            judged on the last, and thrown away: fitted twice, they know little data too well.
        steps: of gradient, for each candidate.
        generator: of minibatches.
    """
    judged = known.candidates
    if newest >= data.size and len(judged) > 1:
        newest = max(1, data.size // 5)
        early = data.take(torch.arange(data.size - newest, device=data.obs.device))
        judged = adapt_each(model, judged, early, steps, generator)
    fresh = data.take(torch.arange(data.size - newest, data.size, device=data.obs.device))
    best, *others = rank(model, judged, fresh)
    losses = {best: 0, **{name: known.losses[name] + 1 for name in others}}
    alive = {name: known.candidates[name] for name in judged if losses[name] < LIVES}
    return Adaptation(
        adapt_each(model, alive, data, steps, generator),
        best,
        {name: losses[name] for name in alive},
    )


def _adapt(
    model: WorldModel,
    state: ModelState,
    data: Batch,
    steps: int,
    generator: torch.Generator,
    moves: Callable[[str], bool],
) -> ModelState:
    """Fit the parameters whose names ``moves`` accepts, after widening to what was seen."""
    wider = model.widen(state, data)
    return model.fit(wider, data, steps, generator, trained=model.mask(moves))


def _is_head(name: str) -> bool:
    return not name.startswith(("model.0.", "model.1.", "model.residual."))
