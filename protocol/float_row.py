"""One row of plain floats that a task's judge takes for an array: what a robot judges, every tick.

Tasks are written on the array API. For single numbers one call of an array library takes as long as
the arithmetic of a whole reward; with plain floats a reward takes an eighth of the time.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any


class FloatRow:
    """(N,) numbers; as much of an array as a task may use.

    ``row[..., i]`` is a float, ``row[..., i:j]`` a row. Arithmetic takes rows of one length, or a
    row and a number. Comparing is for numbers only.
    """

    __slots__ = ("_values",)
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, values: Sequence[float]) -> None:
        self._values = values

    def __array_namespace__(self, api_version: str | None = None) -> type[Floats]:
        return Floats

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, key: Any) -> Any:
        which = key[-1] if isinstance(key, tuple) else key
        if isinstance(which, slice):
            return FloatRow(self._values[which])
        return self._values[which]

    def __add__(self, other: Any) -> FloatRow:
        return _paired(operator.add, self, other)

    def __sub__(self, other: Any) -> FloatRow:
        return _paired(operator.sub, self, other)

    def __mul__(self, other: Any) -> FloatRow:
        return _paired(operator.mul, self, other)

    def __truediv__(self, other: Any) -> FloatRow:
        return _paired(operator.truediv, self, other)

    def __pow__(self, other: Any) -> FloatRow:
        return _paired(operator.pow, self, other)

    def __neg__(self) -> FloatRow:
        return FloatRow([-value for value in self._values])

    def __eq__(self, other: object) -> bool:
        raise TypeError("a row has no truth; compare its numbers")


def _paired(function: Callable[[Any, Any], float], row: FloatRow, other: Any) -> FloatRow:
    if isinstance(other, FloatRow):
        pairs = zip(row._values, other._values, strict=True)
        return FloatRow([function(a, b) for a, b in pairs])
    return FloatRow([function(a, other) for a in row._values])


def _each(function: Callable[..., float]) -> Callable[..., Any]:
    """``function`` of a number, or of each number of a row; further arguments are numbers."""

    def apply(x: Any, *more: float) -> Any:
        if isinstance(x, FloatRow):
            return FloatRow([function(value, *more) for value in x._values])
        return function(x, *more)

    return staticmethod(apply)


class Floats:
    """The array API's functions of these names, of floats and of rows."""

    abs = _each(abs)
    exp = _each(math.exp)
    log = _each(math.log)
    sqrt = _each(math.sqrt)
    sin = _each(math.sin)
    cos = _each(math.cos)
    tanh = _each(math.tanh)
    atan2 = _each(math.atan2)
    minimum = _each(min)
    maximum = _each(max)
    clip = _each(lambda x, low, high: min(max(x, low), high))
    zeros_like = _each(lambda x: 0.0)
    ones_like = _each(lambda x: 1.0)

    @staticmethod
    def where(condition: bool, x: float, y: float) -> float:
        """``x`` if the condition holds, else ``y``."""
        return x if condition else y

    @staticmethod
    def sum(x: FloatRow, *, axis: int = -1) -> float:
        """Of a row's numbers; there is one axis."""
        return math.fsum(x._values)

    @staticmethod
    def mean(x: FloatRow, *, axis: int = -1) -> float:
        """Of a row's numbers; there is one axis."""
        return math.fsum(x._values) / len(x)
