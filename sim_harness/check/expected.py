"""What a robot file may hold at a key, in words; from the types it is decoded by."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Iterable
from typing import Any

from msgspec import inspect

from protocol.table import Name

_NAME = inspect.type_info(Name)


def described(kind: inspect.Type) -> str:
    """``a whole number from 1 to 1000``, ``one of "hold", "interpolate"``."""
    match kind:
        case inspect.LiteralType(values=values):
            text = ("one of " if len(values) > 1 else "") + ", ".join(map(written, values))
        case inspect.ListType(item_type=item):
            text = f"a list in [ ], each {described(item)}"
        case inspect.TupleType(item_types=items):
            text = f"a list in [ ] of {len(items)}, each {described(items[0])}"
        case inspect.UnionType(types=types):
            text = " or ".join(described(each) for each in types if each != inspect.NoneType())
        case _:
            text = _single(kind)
    return text


def _single(kind: inspect.Type) -> str:
    text = "a table"
    match kind:
        case inspect.BoolType():
            text = "true or false, without quotes"
        case inspect.IntType():
            text = "a whole number" + _range(kind)
        case inspect.FloatType():
            text = "a number" + _range(kind)
        case inspect.StrType() if kind == _NAME:
            text = "a name in quotes: small letters, digits and _, a letter first"
        case inspect.StrType():
            text = "text in quotes" + (f" that matches {kind.pattern}" if kind.pattern else "")
    return text


def written(value: Any) -> str:
    """A value as a TOML document writes it, shortened."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "..."


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The known word that looks most like ``word``; empty if none does."""
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return found[0] if found else ""


def choices(kind: inspect.Type) -> list[str]:
    """The words a literal may be."""
    values = kind.values if isinstance(kind, inspect.LiteralType) else ()
    return [value for value in values if isinstance(value, str)]


def _range(kind: inspect.IntType | inspect.FloatType) -> str:
    low = f"from {kind.ge:g}" if kind.ge is not None else ""
    low = f"above {kind.gt:g}" if kind.gt is not None else low
    high = f"to {_plain(kind.le)}" if kind.le is not None else ""
    high = f"below {_plain(kind.lt)}" if kind.lt is not None else high
    if low and high.startswith("below"):
        return f" {low} and {high}"
    if high.startswith("to") and not low:
        return f" up {high}"
    return "".join(f" {end}" for end in (low, high) if end)


def _plain(value: float) -> str:
    """Without an exponent where it is a whole number."""
    return str(int(value)) if math.isfinite(value) and value == int(value) else f"{value:g}"
