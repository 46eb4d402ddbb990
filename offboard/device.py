"""Where tensors of learning live: the CPU, or a GPU that was asked for and is there.

The device is decided once, by the command line; algorithms, models and replays are made with it,
and everything else follows the tensors it is given. Random numbers are drawn on the CPU whatever
the device, so that a seed means the same minibatches and the same noise everywhere.
"""

from __future__ import annotations

from typing import TypeVar

import torch

from protocol.errors import ConfigError

T = TypeVar("T", bound=tuple[torch.Tensor, ...])

CPU = torch.device("cpu")


def the_device(name: str) -> torch.device:
    """The device called ``name`` as PyTorch does: cpu, cuda, cuda:1.

    Raises:
        ConfigError: there is no such device, or it cannot compute.
    """
    try:
        device = torch.device(name)
        (torch.zeros(1, device=device) + 1.0).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ConfigError(
            f"--device {name}: PyTorch {torch.__version__} cannot compute there "
            f"({str(error).splitlines()[0]}); give --device cpu, or see docs/gpu.md"
        ) from error
    return device


def check_on_cpu(name: str, option: str) -> None:
    """Raises ConfigError unless ``name`` is the CPU, the only place for what ``option`` asks."""
    if name != CPU.type:
        raise ConfigError(f"{option} works on the CPU; leave it or --device {name} away")


def moved(state: T, device: torch.device) -> T:
    """A named tuple of tensors, on ``device``; the same tensors where they are there already."""
    state_on_it: T = type(state)._make(part.to(device) for part in state)  # type: ignore[attr-defined]
    return state_on_it
