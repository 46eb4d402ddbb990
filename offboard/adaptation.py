"""Three ways to adapt the ensemble to target data, and the choice between them.

None is best everywhere (LEARNING.md § 6 D). On the Furuta rig a residual on the frozen source model
had half the error of the whole network after 250 transitions, in three runs of three, and lost to
it from 750 on; the last layers alone lost throughout. So candidates are kept side by side, and the
target decides: each predicts the newest data before it learns from them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from offboard.replay import Batch
from offboard.world_model import ModelState, WorldModel
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


def ways(model: WorldModel) -> dict[str, Adapt]:
    """The ways open to ``model``, by name."""
    found: dict[str, Adapt] = {"whole": adapt_whole, "last_layers": adapt_last_layers}
    if model.config.residual:
        found["residual"] = adapt_residual
    return found


def choose(model: WorldModel, candidates: Mapping[str, ModelState], newest: Batch) -> str:
    """The name of the candidate with the least error on ``newest``, which none has learned from."""
    return min(candidates, key=lambda name: model.nmse(candidates[name], newest))


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


def adapt_best(
    model: WorldModel, state: ModelState, data: Batch, steps: int, generator: torch.Generator
) -> tuple[str, ModelState]:
    """Try every way from ``state`` and keep the best: its name and the adapted state.

    The newest fifth of ``data`` (oldest first) is held back for the choice, and learned afterwards.
    """
    split = data.size - max(1, data.size // 5)
    early, newest = data.take(torch.arange(split)), data.take(torch.arange(split, data.size))
    tried = adapt_each(model, dict.fromkeys(ways(model), state), early, steps, generator)
    best = choose(model, tried, newest)
    return best, ways(model)[best](model, tried[best], data, steps, generator)


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
