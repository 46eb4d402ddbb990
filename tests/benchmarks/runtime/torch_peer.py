"""The same network in torch, in a process of its own: onboard's environment has no torch.

Requests and replies are lines of JSON: ``["answer", engine, observation]`` and
``["time", engine, calls]``.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

import numpy as np

from runtime.network import HIDDEN, FloatArray, Weights, make_weights
from runtime.turns import observations, timed_ns

ENGINES = ("torch_eager", "torch_jit")


class TorchPeer:
    """The parent's end."""

    def __init__(self, O: int, A: int, seed: int) -> None:
        self._argv = [sys.executable, "-m", "runtime.torch_peer", str(O), str(A), str(seed)]
        self._child: subprocess.Popen[str] | None = None

    def answer(self, engine: str, obs: FloatArray) -> list[float]:
        """Its action for ``obs`` (O,)."""
        found: list[float] = self._ask(["answer", engine, obs.tolist()])
        return found

    def time_ns(self, engine: str, calls: int) -> list[int]:
        """How long each of ``calls`` calls took."""
        found: list[int] = self._ask(["time", engine, calls])
        return found

    def __enter__(self) -> TorchPeer:
        pipe = subprocess.PIPE
        self._child = subprocess.Popen(self._argv, stdin=pipe, stdout=pipe, text=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if self._child is not None:
            self._child.communicate()  # its input ends, and so does it

    def _ask(self, request: list[Any]) -> Any:
        child = self._child
        if child is None or child.stdin is None or child.stdout is None:
            raise RuntimeError("the torch peer was not started")
        child.stdin.write(json.dumps(request) + "\n")
        child.stdin.flush()
        if not (line := child.stdout.readline()):
            raise RuntimeError(f"the torch peer ended with status {child.wait()}")
        return json.loads(line)


def engines(weights: Weights) -> dict[str, Callable[[FloatArray], Any]]:
    """Eager, and traced and frozen; gradients off, one thread."""
    import torch

    torch.set_num_threads(1)
    eager = torch.nn.Sequential(*_layers(weights)).eval()
    frozen = torch.jit.freeze(torch.jit.trace(eager, torch.from_numpy(weights["mean"])))

    def calling(module: Any) -> Callable[[FloatArray], Any]:
        @torch.inference_mode()
        def infer(obs: FloatArray) -> Any:
            return module(torch.from_numpy(obs[None])).numpy()

        return infer

    return dict(zip(ENGINES, (calling(eager), calling(frozen)), strict=True))


def _layers(weights: Weights) -> Iterator[Any]:
    import torch

    class Normaliser(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mean", torch.from_numpy(weights["mean"]))
            self.register_buffer("std", torch.from_numpy(weights["std"]))

        def forward(self, obs: Any) -> Any:
            return (obs - self.mean) / self.std

    yield Normaliser()
    for layer in range(len(HIDDEN) + 1):
        weight, bias = (torch.from_numpy(weights[f"{name}{layer}"]) for name in "wb")
        linear = torch.nn.Linear(*weight.shape)
        linear.weight, linear.bias = torch.nn.Parameter(weight.T), torch.nn.Parameter(bias)
        yield linear
        yield torch.nn.ELU() if layer < len(HIDDEN) else torch.nn.Tanh()


def serve() -> None:
    """The child's end, until its input ends."""
    O, A, seed = map(int, sys.argv[1:])
    known, pool = engines(make_weights(O, A, seed)), observations(O, seed)
    for line in sys.stdin:
        what, engine, argument = json.loads(line)
        if what == "answer":
            reply = known[engine](np.array(argument, np.float32))[0].tolist()
        else:
            reply = timed_ns(known[engine], pool, argument).tolist()
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    serve()
