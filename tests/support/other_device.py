"""A device that is not the CPU, for machines without one: tensors that say "meta" and hold numbers.

Under :class:`OtherDevice` PyTorch's meta device computes, on the CPU behind its back, and is as
strict as a GPU, or stricter: tensors of two devices never meet, scalars aside, numpy cannot read
it, and a generator of the CPU draws nothing there.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

OTHER = torch.device("meta")


class There(Tensor):
    """A tensor of the other device; ``held`` has its numbers."""

    held: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, held: Tensor) -> There:
        made: There = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, held.shape, strides=held.stride(), storage_offset=held.storage_offset(),
            dtype=held.dtype, device=OTHER,
        )  # fmt: skip
        made.held = held
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise RuntimeError(f"{func} on the other device, which is not there")


class OtherDevice(TorchDispatchMode):
    """While it is entered the other device is there."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        there = [leaf for leaf in given if isinstance(leaf, There)]
        kwargs = dict(kwargs or {})
        wanted = kwargs.get("device")
        if wanted is None and there and any(_is_here(leaf) for leaf in given):
            raise RuntimeError(f"{func}: tensors on two devices")
        if wanted is not None:
            kwargs["device"] = "cpu"
            if torch.device(wanted) == OTHER and kwargs.get("generator") is not None:
                raise RuntimeError(f"{func}: a generator of the CPU draws for the CPU only")
        out = func(*tree_map(_held, args), **tree_map(_held, kwargs))
        on_other = bool(there) if wanted is None else torch.device(wanted) == OTHER
        known = {id(leaf.held): leaf for leaf in there}  # what was changed in place stays itself
        return tree_map(lambda leaf: _put(leaf, known), out) if on_other else out


def _is_here(tensor: Tensor) -> bool:
    return tensor.dim() > 0 and not isinstance(tensor, There)


def _held(leaf: Any) -> Any:
    return leaf.held if isinstance(leaf, There) else leaf


def _put(leaf: Any, known: dict[int, There]) -> Any:
    if not isinstance(leaf, Tensor):
        return leaf
    found = known.get(id(leaf))
    return There(leaf) if found is None else found
